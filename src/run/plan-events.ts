import type { Action, Plan } from "../plan/plan.ts";
import type { RunEvent } from "./events.ts";

/** Returns the event that counts what is to happen in one cache, and one for each path that stays away. */
export function planEvents(cache: string, { paths }: Plan): RunEvent[] {
  const number = (action: Action): number => paths.filter((one) => one.action === action).length;
  const pushBytes = paths.reduce((sum, one) => sum + (one.action === "push" ? one.narSize : 0), 0);
  const events: RunEvent[] = [
    {
      event: "plan",
      cache,
      selected: paths.length,
      push: number("push"),
      pushBytes,
      present: number("present"),
      upstream: number("upstream"),
      held: number("held"),
      excluded: number("excluded"),
    },
  ];
  for (const { path, action, reason } of paths) {
    if (action === "held" || action === "excluded")
      events.push({ event: action, cache, path, reason });
  }
  return events;
}
