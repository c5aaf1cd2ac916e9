import { isDerivation, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import type { PathSource, Taken } from "./path-source.ts";

/** Records asked for at once. */
const SLICE = 1000;

export interface StoreSourceOptions {
  /** True if paths count that were not built here but brought in. */
  readonly substituted: boolean;
  /** Where an earlier source stood. @default {now} */
  readonly mark?: number | undefined;
}

/** Sees what becomes valid in the store from now on, whoever has a hand in it. */
export class StoreSource implements PathSource {
  readonly description = "watching the store";
  readonly env = {};
  readonly folder: string;
  readonly #store: Store;
  readonly #substituted: boolean;
  #mark: number;

  private constructor(store: Store, { substituted, mark = 0 }: StoreSourceOptions) {
    this.folder = store.changesDir();
    this.#store = store;
    this.#substituted = substituted;
    this.#mark = mark;
  }

  /** @throws {HandpickError} `STORE_UNSUPPORTED` if the database cannot be read. */
  static async open(store: Store, options: StoreSourceOptions): Promise<StoreSource> {
    const { mark } = await store.newPaths();
    return new StoreSource(store, { ...options, mark: options.mark ?? mark });
  }

  /** How far it got. */
  get mark(): number {
    return this.#mark;
  }

  async take(): Promise<Taken> {
    const { mark, paths } = await this.#store.newPaths(this.#mark);
    const outputs = paths.filter((path) => !isDerivation(path));
    return {
      paths: this.#substituted ? outputs : await this.#builtHere(outputs),
      done: async () => {
        this.#mark = mark;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #builtHere(paths: readonly StorePath[]): Promise<StorePath[]> {
    const built: StorePath[] = [];
    for (let start = 0; start < paths.length; start += SLICE) {
      const slice = paths.slice(start, start + SLICE);
      const infos = await this.#store.pathInfos(slice);
      built.push(...slice.filter((path) => infos.get(path)?.ultimate === true));
    }
    return built;
  }
}
