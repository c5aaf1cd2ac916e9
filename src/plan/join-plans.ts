import { totalsOf } from "./make-plan.ts";
import type { Plan } from "./plan.ts";

/** Makes one plan of plans that are for a cache each. */
export function joinPlans(plans: readonly Plan[]): Plan {
  const [only] = plans;
  if (only !== undefined && plans.length === 1) return only;
  const paths = plans
    .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    .flatMap((plan) => plan.paths);
  return { version: 1, paths, totals: totalsOf(paths) };
}

function nameOf({ paths }: Plan): string {
  return paths[0]?.cache ?? "";
}
