import type { StorePath } from "../nix/store-path.ts";
import { chainTo, reach } from "../plan/chain.ts";
import type { PickRef } from "../plan/plan.ts";
import type { Hole } from "./fault.ts";

/** A pick that a fresh machine does not get from caches, since it needs a path that is not served. */
export interface Unserved {
  readonly pick: PickRef;
  readonly hole: Hole;
  /** The shortest way of references from the pick to that path, both included. */
  readonly chain: readonly StorePath[];
  /** How many more paths it lacks. */
  readonly others: number;
}

export interface PickRoots {
  readonly pick: PickRef;
  /** The paths that readers are to get; they need all that these refer to. */
  readonly roots: Iterable<StorePath>;
}

/**
 * Finds the picks that are not served, with the nearest hole of each.
 *
 * @param referencesOf Of a path that is served, as its readers see them, else as the store has them.
 */
export function unserved(
  picks: Iterable<PickRoots>,
  holes: ReadonlyMap<StorePath, Hole>,
  referencesOf: (path: StorePath) => Iterable<StorePath>,
): Unserved[] {
  const found: Unserved[] = [];
  for (const { pick, roots } of picks) {
    const reached = reach(roots, referencesOf);
    const lacked = [...reached.keys()].flatMap((path) => holes.get(path) ?? []);
    const [nearest] = lacked;
    if (nearest === undefined) continue;
    const chain = chainTo(nearest.path, reached);
    found.push({ pick, hole: nearest, chain, others: lacked.length - 1 });
  }
  return found;
}
