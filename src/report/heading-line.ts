import type { RunEvent } from "../run/events.ts";
import { formatSize } from "../plan/format-size.ts";

/** Numbers of paths for one cache. */
export type Heading = Omit<Extract<RunEvent, { event: "plan" }>, "event">;

/** Numbers of paths, by what happens to them. */
export type Counts = Omit<Heading, "cache" | "selected">;

/** Puts the plan for one cache into one line. */
export function headingLine({ cache, selected, ...counts }: Heading): string {
  return `${cache}: ${selected} selected, ${countsText(counts)}`;
}

/** Puts numbers of paths into words; those that are 0 are left out. */
export function countsText({ push, pushBytes, present, upstream, held, excluded }: Counts): string {
  const toPush = push === 0 ? "nothing to push" : `${push} to push (${formatSize(pushBytes)})`;
  const counted = Object.entries({ "already there": present, upstream, held, excluded });
  return [
    toPush,
    ...counted.flatMap(([word, count]) => (count > 0 ? [`${count} ${word}`] : [])),
  ].join(", ");
}
