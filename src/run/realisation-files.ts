import { realisationOf } from "../cache/binary-cache.ts";
import type { CacheCompanions, Companion } from "../cache/contract.ts";
import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import type { Realisation, RealisationId } from "../nix/realisation.ts";
import type { StorePath } from "../nix/store-path.ts";
import { realisationSignatures, type SignOptions } from "./signatures.ts";

/** Small files that are written at once. */
const FILES_AT_ONCE = 8;

/** The realisations of paths, signed, as a cache gets them. */
export class RealisationFiles {
  readonly #found: ReadonlyMap<RealisationId, Realisation>;
  readonly #byPath: ReadonlyMap<StorePath, readonly Realisation[]>;
  readonly #signing: SignOptions;
  readonly #stored = new Set<RealisationId>();

  /** @param found Those of the paths that will be asked for, with all that they were built with. */
  constructor(found: ReadonlyMap<RealisationId, Realisation>, signing: SignOptions) {
    this.#found = found;
    this.#byPath = Map.groupBy(found.values(), ({ path }) => path);
    this.#signing = signing;
  }

  /** Makes those of a path that is on its way. One counts as stored when the next is asked for. */
  *companionsOf(path: StorePath): Generator<Companion> {
    const wanted = new Set(this.#byPath.get(path));
    // Readers need those as well, and the path of one may be there already, without it.
    for (const { dependencies } of wanted) {
      for (const id of dependencies.keys()) {
        const dependency = this.#found.get(id);
        if (dependency !== undefined && !this.#stored.has(id)) wanted.add(dependency);
      }
    }
    for (const realisation of [...wanted].toReversed()) {
      yield this.#companion(realisation);
      this.#stored.add(realisation.id);
    }
  }

  /**
   * Finds those that a cache lacks of paths that readers have already: another derivation may have made
   * the same since.
   */
  async missing(
    paths: Iterable<StorePath>,
    companions: CacheCompanions,
    signal: AbortSignal,
  ): Promise<Companion[]> {
    const known = [...paths].flatMap((path) => this.#byPath.get(path) ?? []);
    const files = known
      .filter(({ id }) => !this.#stored.has(id))
      .map((one) => this.#companion(one));
    if (files.length === 0) return [];
    const missing = await companions.missing(
      files.map(({ name }) => name),
      signal,
    );
    return files.filter(({ name }) => missing.has(name));
  }

  #companion(realisation: Realisation): Companion {
    const signatures = realisationSignatures(realisation, this.#signing);
    return realisationOf({ ...realisation, signatures });
  }
}

/** Puts small files into a cache, several at once. */
export async function putAll(
  files: readonly Companion[],
  companions: CacheCompanions,
  signal: AbortSignal,
): Promise<void> {
  await forEachConcurrent(files, { limit: FILES_AT_ONCE, signal }, (file, signal) =>
    companions.put(file, signal),
  );
}
