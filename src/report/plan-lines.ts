import type { Action, Decision, PickRef, Plan } from "../plan/plan.ts";
import { formatSize } from "../plan/format-size.ts";
import { reasonText } from "../plan/reason-text.ts";
import { paddedName, printable } from "./format.ts";
import type { Paint } from "./painter.ts";
import { type Counts, countsText, headingLine } from "./heading-line.ts";

export interface PlanLinesOptions {
  readonly paint: Paint;
  /** Lists every path in the order of the plan. Else what readers have is counted, and so are many small pushes. */
  readonly isFull: boolean;
}

/** Of what is to be pushed, so many of the largest are listed. */
const MOST_PUSHES_SHOWN = 10;
/** Actions that leave nothing to do. */
const SETTLED: ReadonlySet<Action> = new Set<Action>(["present", "upstream"]);

/**
 * A plan as text: a heading a cache, a line for each pick where there are several, then a line a path with action,
 * size, name and reason: what stays away before what goes.
 */
export function planLines(plan: Plan, options: PlanLinesOptions): string[] {
  const caches = Map.groupBy(plan.paths, (decision) => decision.cache);
  return [...caches].flatMap(([cache, decisions]) => [
    headingLine({ cache, selected: decisions.length, ...countsOf(decisions) }),
    ...pickLines(decisions, options),
    ...(options.isFull
      ? decisions.map((one) => decisionLine(one, options.paint))
      : shortLines(decisions, options.paint)),
  ]);
}

function shortLines(decisions: readonly Decision[], paint: Paint): string[] {
  const staying = decisions.filter(({ action }) => action === "held" || action === "excluded");
  const pushes = decisions.filter(({ action }) => action === "push");
  const largest = pushes.toSorted((a, b) => b.narSize - a.narSize).slice(0, MOST_PUSHES_SHOWN);
  const isCut = pushes.length > largest.length;
  const shown = new Set(isCut ? largest : pushes);
  const rest = pushes.filter((one) => !shown.has(one));
  const restSize = formatSize(rest.reduce((sum, { narSize }) => sum + narSize, 0));
  const settled = decisions.filter(({ action }) => SETTLED.has(action)).length;
  return [
    ...[...staying, ...shown].map((one) => decisionLine(one, paint)),
    ...(isCut
      ? [paint("dim", `  ${rest.length} smaller ones to push (${restSize}): see --full`)]
      : []),
    ...(settled > 0 ? [paint("dim", `  ${settled} that readers have already: see --full`)] : []),
  ];
}

/** A line for each pick, where there are several: one pick needs what the heading says. */
function pickLines(decisions: readonly Decision[], { paint }: PlanLinesOptions): string[] {
  const all = new Map<string, PickRef>();
  for (const { picks } of decisions) for (const pick of picks) all.set(keyOf(pick), pick);
  if (all.size < 2) return [];
  const refs = [...all.values()].toSorted((a, b) => compare(keyOf(a), keyOf(b)));
  return refs.map((pick) => {
    const own = decisions.filter(({ picks }) => picks.some((one) => keyOf(one) === keyOf(pick)));
    return paint("dim", `  for ${nameAmong(pick, refs)}: ${countsText(countsOf(own))}`);
  });
}

const keyOf = ({ name, selection = "" }: PickRef): string => `${name}\0${selection}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The colour of each action. */
export const ACTION_STYLES: Readonly<Record<Action, Parameters<Paint>[0]>> = {
  push: "green",
  present: "dim",
  upstream: "dim",
  held: "yellow",
  excluded: "yellow",
};

function countsOf(decisions: readonly Decision[]): Counts {
  const sizes = (wanted: Action): number[] =>
    decisions.flatMap(({ action, narSize }) => (action === wanted ? [narSize] : []));
  return {
    push: sizes("push").length,
    pushBytes: sizes("push").reduce((sum, size) => sum + size, 0),
    present: sizes("present").length,
    upstream: sizes("upstream").length,
    held: sizes("held").length,
    excluded: sizes("excluded").length,
  };
}

function decisionLine({ path, action, narSize, reason, picks }: Decision, paint: Paint): string {
  const why = `${printable(reasonText(reason))} (for ${namesOf(picks)})`;
  return `  ${paint(ACTION_STYLES[action], action.padEnd(8))} ${formatSize(narSize).padStart(10)}  ${paddedName(path)} ${why}`;
}

/** Names picks, with their selections where two have the same name. */
export function namesOf(picks: readonly PickRef[]): string {
  return picks.map((pick) => nameAmong(pick, picks)).join(", ");
}

function nameAmong({ name, selection }: PickRef, picks: readonly PickRef[]): string {
  const isShared = picks.some((other) => other.name === name && other.selection !== selection);
  return printable(isShared && selection !== undefined ? `${name} of ${selection}` : name);
}
