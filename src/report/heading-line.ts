import type { RunEvent } from "../run/events.ts";
import { formatSize } from "../plan/format-size.ts";

/** Numbers of paths for one cache. */
export type Heading = Omit<Extract<RunEvent, { event: "plan" }>, "event">;

/** Puts the plan for one cache into one line. */
export function headingLine(heading: Heading): string {
  const { cache, selected, push, pushBytes, present, upstream, held, excluded } = heading;
  const toPush = push === 0 ? "nothing to push" : `${push} to push (${formatSize(pushBytes)})`;
  const counted = Object.entries({ "already there": present, upstream, held, excluded });
  const rest = counted.flatMap(([word, count]) => (count > 0 ? [`${count} ${word}`] : []));
  return `${cache}: ${[`${selected} selected`, toPush, ...rest].join(", ")}`;
}
