import type { StorePath } from "../nix/store-path.ts";
import type { Hold, Store } from "../store/store.ts";

/**
 * Keeps builds from garbage collection until a sync has rooted or pushed them. However many syncs fail,
 * the next build joins all of them in one hold, since each hold may be a process of the daemon.
 */
export class HeldBuilds implements AsyncDisposable {
  readonly #store: Store;
  readonly #paths = new Set<StorePath>();
  #holds: Hold[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  /** Holds `paths` as well. */
  async add(paths: readonly StorePath[]): Promise<void> {
    const before = [...this.#holds];
    const hold = await this.#store.hold(new Set([...this.#paths, ...paths]));
    // A sync that failed meanwhile may have given back paths that this hold is without.
    this.#holds = [...this.#holds.filter((one) => !before.includes(one)), hold];
    for (const path of paths) this.#paths.add(path);
    for (const one of before) await one[Symbol.asyncDispose]();
  }

  /** Takes over what another one holds, which then holds nothing. */
  absorb(other: HeldBuilds): void {
    this.#holds.push(...other.#holds.splice(0));
    for (const path of other.#paths) this.#paths.add(path);
    other.#paths.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#paths.clear();
    for (const hold of this.#holds.splice(0)) await hold[Symbol.asyncDispose]();
  }
}
