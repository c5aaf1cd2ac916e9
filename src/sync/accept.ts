import type { Config } from "../config/config.ts";
import { compileGlob } from "../nix/glob.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import { readBuiltManifest } from "./store-manifest.ts";

/**
 * Those of `paths` that are to be pushed by themselves: a glob of `[builds]` fits them, or they are
 * manifests. No cache hears of the others.
 */
export async function acceptedByRules(
  paths: readonly StorePath[],
  { config, store }: { readonly config: Config; readonly store: Store },
): Promise<StorePath[]> {
  const globs = config.builds.include.map(compileGlob);
  const accepted: StorePath[] = [];
  for (const path of paths) {
    const isAccepted =
      globs.some((fits) => fits(path)) || (await readBuiltManifest(path, store)) !== undefined;
    if (isAccepted) accepted.push(path);
  }
  return accepted;
}
