import type { Action, Decision, Plan } from "../plan/plan.ts";
import { formatSize } from "../plan/format-size.ts";
import { paddedName, printable } from "./format.ts";
import { headingLine } from "./heading-line.ts";

/** A plan as text: a heading a cache, then a line a path with action, size, name and reason. */
export function planLines(plan: Plan): string[] {
  const caches = Map.groupBy(plan.paths, (decision) => decision.cache);
  return [...caches].flatMap(([cache, decisions]) => [
    heading(cache, decisions),
    ...decisions.map(decisionLine),
  ]);
}

function heading(cache: string, decisions: readonly Decision[]): string {
  const sizes = (wanted: Action): number[] =>
    decisions.flatMap(({ action, narSize }) => (action === wanted ? [narSize] : []));
  return headingLine({
    cache,
    selected: decisions.length,
    push: sizes("push").length,
    pushBytes: sizes("push").reduce((sum, size) => sum + size, 0),
    present: sizes("present").length,
    upstream: sizes("upstream").length,
    held: sizes("held").length,
    excluded: sizes("excluded").length,
  });
}

function decisionLine({ path, action, narSize, reason, picks }: Decision): string {
  const why = `${printable(reason.text)} (for ${picks.map(printable).join(", ")})`;
  return `  ${action.padEnd(8)} ${formatSize(narSize).padStart(10)}  ${paddedName(path)} ${why}`;
}
