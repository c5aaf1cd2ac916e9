import type { Config } from "../config/config.ts";
import { type Manifest, type Pick, picksOf } from "../nix/manifest.ts";
import { isStorePath, type StorePath } from "../nix/store-path.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { builtPicksBy } from "../run/built-picks.ts";
import { readStoreManifest } from "../run/store-manifest.ts";

export interface LivePicksOptions {
  readonly config: Config;
  readonly store: Store;
  readonly folder: StateFolder | undefined;
  /** The caches that all goes to; none leaves it to picks and rules. */
  readonly to: readonly string[];
  /** Told what of builds is left out. */
  readonly onNote: (text: string) => void;
}

/** Decides which new paths are to be pushed, and as what. */
export class LivePicks {
  readonly #options: LivePicksOptions;
  /** Manifests that links led to at the last look; undefined for a link to none. */
  #manifests = new Map<string, Manifest | undefined>();

  constructor(options: LivePicksOptions) {
    this.#options = options;
  }

  /**
   * The picks that new paths stand for by `[builds]`, and parts of selections, whose caches a
   * configuration that was found does not decide. The paths have to be valid.
   */
  async choose(paths: readonly StorePath[]): Promise<Pick[]> {
    const builtPicks = builtPicksBy(this.#options);
    const chosen: Pick[] = [];
    for (const path of paths) {
      const { picks, notes } = await builtPicks(path);
      for (const pick of picks) chosen.push(pick);
      for (const note of notes) this.#options.onNote(note);
    }
    if (this.#options.config.isFound) return chosen;
    return [...chosen, ...(await this.wantedParts(paths))];
  }

  /** The parts of wanted selections that new paths are. */
  async wantedParts(paths: readonly StorePath[]): Promise<Pick[]> {
    if (paths.length === 0) return [];
    const fresh = new Set(paths);
    await this.#readManifests();
    const picks = [...this.#manifests.values()].flatMap((manifest) =>
      manifest === undefined ? [] : picksOf(manifest),
    );
    return picks.flatMap((pick) => {
      const part = pick.paths.filter((path) => fresh.has(path));
      if (part.length === 0) return [];
      // Of a pick, the first path is pinned.
      return [{ ...pick, paths: part, pin: part[0] === pick.paths[0] ? pick.pin : undefined }];
    });
  }

  /** A manifest in the store never changes; one that was not there may come to be. */
  async #readManifests(): Promise<void> {
    const { folder, store } = this.#options;
    const read = new Map<string, Manifest | undefined>();
    for (const { target } of folder === undefined ? [] : await readWanted(folder)) {
      const known = this.#manifests.get(target);
      read.set(target, known ?? (await readIfThere(target, store)));
    }
    this.#manifests = read;
  }
}

async function readIfThere(target: string, store: Store): Promise<Manifest | undefined> {
  if (!isStorePath(target, store.storeDir)) return undefined;
  // Whatever is wrong with it is told by the sync, which reads it as well.
  return readStoreManifest(target, store).catch(() => undefined);
}
