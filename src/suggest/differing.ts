import type { Pick } from "../nix/manifest.ts";
import { nameOf, type StorePath } from "../nix/store-path.ts";
import { type PickRef, refOf } from "../plan/plan.ts";

/** A pick of which another build is installed. */
export interface Differing {
  readonly pick: PickRef;
  /** The path that is picked, and one of the same name that is installed. */
  readonly path: StorePath;
  readonly installed: StorePath;
}

/** Finds picks that are not installed, while something else of the same name and version is. */
export function differingPicks(
  picks: readonly Pick[],
  installed: ReadonlySet<StorePath>,
): Differing[] {
  const byName = new Map([...installed].map((path) => [nameOf(path), path]));
  return picks.flatMap((pick) => {
    for (const path of pick.paths) {
      const other = byName.get(nameOf(path));
      if (installed.has(path) || other === undefined) continue;
      return [{ pick: refOf(pick), path, installed: other }];
    }
    return [];
  });
}
