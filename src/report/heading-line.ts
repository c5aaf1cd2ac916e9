import type { RunEvent } from "../run/events.ts";
import { formatSize } from "../plan/format-size.ts";

/** What one cache is to get, by number of paths. */
export type Heading = Omit<Extract<RunEvent, { event: "plan" }>, "event">;

/** What is to happen at one cache, in one line. */
export function headingLine(heading: Heading): string {
  const { cache, selected, push, pushBytes, present, upstream, held, excluded } = heading;
  const toPush = push === 0 ? "nothing to push" : `${push} to push (${formatSize(pushBytes)})`;
  const counted = Object.entries({ "already there": present, upstream, held, excluded });
  const rest = counted.flatMap(([word, count]) => (count > 0 ? [`${count} ${word}`] : []));
  return `${cache}: ${[`${selected} selected`, toPush, ...rest].join(", ")}`;
}
