import { HandpickError } from "../error.ts";
import type { Pick } from "../nix/manifest.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { readSelection, validManifests } from "../sync/wanted-picks.ts";

/** The picks of this machine, and all that goes into caches for them. */
export interface WantedPaths {
  readonly picks: readonly Pick[];
  readonly paths: ReadonlySet<StorePath>;
  /** Why selections cannot be used, in words. */
  readonly troubles: readonly string[];
}

/**
 * Reads what is wanted on this machine already.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if the state folder cannot be read, or may be another user's.
 */
export async function readWantedPaths(folder: StateFolder, store: Store): Promise<WantedPaths> {
  const links = await readWanted(folder, "read");
  const valid = await validManifests(links, store);
  const picks: Pick[] = [];
  const troubles: string[] = [];
  for (const link of links) {
    try {
      picks.push(...((await readSelection(link, valid, store))?.picks ?? []));
    } catch (error) {
      if (!(error instanceof HandpickError)) throw error;
      troubles.push(`${error.message} [${error.code}]`);
    }
  }
  const alone = picks.filter(({ closure }) => closure === "self").flatMap(({ paths }) => paths);
  const deep = picks.filter(({ closure }) => closure !== "self").flatMap(({ paths }) => paths);
  const closure = await store.closure(deep);
  return { picks, paths: new Set([...alone, ...closure.keys()]), troubles };
}
