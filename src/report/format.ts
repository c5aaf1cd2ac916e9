import { UNPRINTABLE } from "../nix/format-error.ts";
import { nameOf, type StorePath } from "../nix/store-path.ts";

/** A duration: `0.4 s`, `36 s`, `4 min 10 s`, `2 h 5 min`. */
export function formatDuration(durationMs: number): string {
  const seconds = durationMs / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** The time before which nothing is tried again: `in 59 s at the earliest`, or `at the next sync` if it is past. */
export function formatUntil(time: number, now: number): string {
  return time <= now ? "at the next sync" : `in ${formatDuration(time - now)} at the earliest`;
}

/** The name part of a store path in a column that keeps lines within 72 characters. */
export function paddedName(path: StorePath): string {
  return nameOf(path).padEnd(32);
}

/**
 * Makes hostile text printable: what could steer a terminal is dropped, that is control characters
 * but the line feed, marks that reverse the direction of what follows, and unusual line ends.
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) => (character === "\n" ? character : ""));
}
