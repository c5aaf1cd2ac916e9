import { nameOf } from "../nix/store-path.ts";
import type { Decision, Plan } from "../plan/plan.ts";
import { formatSize, printable } from "./format.ts";

/** A plan as text: a heading a cache, then a line a path with action, size, name and reason. */
export function planLines(plan: Plan): string[] {
  const caches = Map.groupBy(plan.paths, (decision) => decision.cache);
  return [...caches].flatMap(([cache, decisions]) => [
    `${cache}: ${countText(decisions)}`,
    ...decisions.map(decisionLine),
  ]);
}

function countText(decisions: readonly Decision[]): string {
  const toPush = decisions.filter(({ action }) => action === "push");
  const size = toPush.reduce((sum, { narSize }) => sum + narSize, 0);
  return `${decisions.length} selected, ${toPush.length} to push (${formatSize(size)})`;
}

function decisionLine({ path, action, narSize, reason, picks }: Decision): string {
  const why = `${printable(reason.text)} (for ${picks.map(printable).join(", ")})`;
  return `  ${action.padEnd(8)} ${formatSize(narSize).padStart(10)}  ${nameOf(path).padEnd(32)} ${why}`;
}
