import type { Action, Decision, PickRef, Plan } from "../plan/plan.ts";
import { formatSize } from "../plan/format-size.ts";
import { reasonText } from "../plan/reason-text.ts";
import { paddedName, printable } from "./format.ts";
import type { Paint } from "./painter.ts";
import { headingLine } from "./heading-line.ts";

export interface PlanLinesOptions {
  readonly paint: Paint;
  /** Lists what readers have already, which is counted otherwise. */
  readonly isFull: boolean;
}

/** A plan as text: a heading a cache, then a line a path with action, size, name and reason. */
export function planLines(plan: Plan, { paint, isFull }: PlanLinesOptions): string[] {
  const caches = Map.groupBy(plan.paths, (decision) => decision.cache);
  return [...caches].flatMap(([cache, decisions]) => {
    const shown = decisions.filter(({ action }) => isFull || !SETTLED.has(action));
    const lines = [heading(cache, decisions), ...shown.map((one) => decisionLine(one, paint))];
    const others = decisions.length - shown.length;
    if (others > 0) lines.push(paint("dim", `  ${others} that readers have already: see --full`));
    return lines;
  });
}

/** Actions that leave nothing to do. */
const SETTLED: ReadonlySet<Action> = new Set<Action>(["present", "upstream"]);

/** The colour of each action. */
export const ACTION_STYLES: Readonly<Record<Action, Parameters<Paint>[0]>> = {
  push: "green",
  present: "dim",
  upstream: "dim",
  held: "yellow",
  excluded: "yellow",
};

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

function decisionLine({ path, action, narSize, reason, picks }: Decision, paint: Paint): string {
  const why = `${printable(reasonText(reason))} (for ${namesOf(picks)})`;
  return `  ${paint(ACTION_STYLES[action], action.padEnd(8))} ${formatSize(narSize).padStart(10)}  ${paddedName(path)} ${why}`;
}

/** Names picks, with their selections where two have the same name. */
export function namesOf(picks: readonly PickRef[]): string {
  const names = picks.map(({ name, selection }) => {
    const isShared = picks.some((other) => other.name === name && other.selection !== selection);
    return printable(isShared && selection !== undefined ? `${name} of ${selection}` : name);
  });
  return names.join(", ");
}
