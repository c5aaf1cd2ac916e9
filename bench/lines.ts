import { ratios, spreadOf } from "./race.ts";
import type { Spread } from "./race.ts";

/** One line of the table, ready to print. */
export interface Line {
  readonly what: string;
  readonly against: string;
  readonly reach: string;
  readonly measured: string;
  /** Least and most. */
  readonly spread: string;
  readonly handpick: string;
  readonly other: string;
  /** Undefined where there is nothing to reach, or nothing was measured. */
  readonly isReached: boolean | undefined;
}

/** What is compared, and since when that is good. */
export interface Goal {
  readonly what: string;
  readonly against: string;
  /** The least speed in terms of the other's, or the most time; none if this is only told. */
  readonly reach?: number;
}

/** How many times as fast as the other one handpick is. */
export function speedLine(
  { what, against, reach }: Goal,
  ours: readonly number[],
  theirs: readonly number[],
): Line {
  const found = ratios(theirs, ours);
  return {
    ...timesOf(ours, theirs),
    what,
    against,
    reach: reach === undefined ? "–" : `≥ ${reach.toFixed(2)} × as fast`,
    measured: `${times(found.median)} as fast`,
    spread: spreadText(found, digits),
    isReached: reach === undefined ? undefined : found.median >= reach,
  };
}

/** How many times as long as the other one handpick takes. */
export function durationLine(
  { what, against, reach }: Goal & { readonly reach: number },
  ours: readonly number[],
  theirs: readonly number[],
): Line {
  const found = ratios(ours, theirs);
  return {
    ...timesOf(ours, theirs),
    what,
    against,
    reach: `≤ ${reach.toFixed(2)} × as long`,
    measured: `${times(found.median)} as long`,
    spread: spreadText(found, digits),
    isReached: found.median <= reach,
  };
}

/** Something of handpick alone that must not exceed a bound: the worst run counts. */
export function boundLine(
  { what, reach }: { readonly what: string; readonly reach: number },
  values: readonly number[],
  format: (value: number) => string,
): Line {
  const found = spreadOf(values);
  return {
    what,
    against: "–",
    reach: `≤ ${format(reach)}`,
    measured: format(found.most),
    spread: spreadText(found, format),
    handpick: format(found.median),
    other: "–",
    isReached: found.most <= reach,
  };
}

/** What could not be compared with, and why. */
export interface Missing {
  readonly against: string;
  readonly reason: string;
}

/** In place of comparisons that could not be made. */
export function missingLines(what: string, missing: readonly Missing[]): Line[] {
  return missing.map(({ against, reason }) => ({
    what,
    against,
    reach: "–",
    measured: `not measured: ${reason}`,
    spread: "–",
    handpick: "–",
    other: "–",
    isReached: undefined,
  }));
}

export function seconds(value: number): string {
  return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(2)} s`;
}

export function byteSize(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

const times = (value: number): string => `${digits(value)} ×`;

function digits(value: number): string {
  return value < 10 ? value.toFixed(2) : value.toFixed(0);
}

function spreadText({ least, most, count }: Spread, format: (value: number) => string): string {
  return count === 1 ? "1 run" : `${format(least)} to ${format(most)}, ${count} runs`;
}

function timesOf(
  ours: readonly number[],
  theirs: readonly number[],
): Pick<Line, "handpick" | "other"> {
  return {
    handpick: seconds(spreadOf(ours).median),
    other: seconds(spreadOf(theirs).median),
  };
}
