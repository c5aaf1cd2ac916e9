import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { HandpickError } from "../error.ts";
import type { NarInfo } from "../nix/narinfo.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Fault, Hole } from "./fault.ts";
import { look, type Source } from "./source.ts";

/** Paths under way at once: each is a question or two, and each server limits those to itself. */
const PATHS_AT_ONCE = 192;

/** A path that readers get. */
export interface Served {
  readonly narInfo: NarInfo;
  readonly source: Source;
}

/** All that readers get, and all that they do not, of some paths and of what those refer to. */
export interface Walked {
  readonly served: ReadonlyMap<StorePath, Served>;
  readonly holes: ReadonlyMap<StorePath, Hole>;
  /** Why servers gave no answer, by their URL. */
  readonly silent: ReadonlyMap<string, HandpickError>;
}

export interface WalkOptions {
  readonly signal: AbortSignal;
  /** Told after each path. */
  readonly onPath?: (done: number, known: number) => void;
}

/**
 * Asks for paths and for all that their narinfos refer to, as readers do: each server in turn, until one of them
 * has the path. One that gives no answer is asked no more.
 */
export async function walk(
  paths: Iterable<StorePath>,
  sources: readonly Source[],
  options: WalkOptions,
): Promise<Walked> {
  const run = new Walk(sources, options);
  await run.ask(paths);
  return run;
}

class Walk implements Walked {
  readonly served = new Map<StorePath, Served>();
  readonly holes = new Map<StorePath, Hole>();
  readonly silent = new Map<string, HandpickError>();
  readonly #sources: readonly Source[];
  readonly #options: WalkOptions;
  readonly #known = new Set<StorePath>();

  constructor(sources: readonly Source[], options: WalkOptions) {
    this.#sources = sources;
    this.#options = options;
  }

  async ask(paths: Iterable<StorePath>): Promise<void> {
    const { signal, onPath } = this.#options;
    let open = new Set(paths);
    while (open.size > 0) {
      for (const path of open) this.#known.add(path);
      const next = new Set<StorePath>();
      await forEachConcurrent(open, { limit: PATHS_AT_ONCE, signal }, async (path, signal) => {
        for (const reference of await this.#one(path, signal)) next.add(reference);
        onPath?.(this.served.size + this.holes.size, this.#known.size);
      });
      open = next.difference(this.#known);
    }
  }

  /** Returns the references of a path that is served. */
  async #one(path: StorePath, signal: AbortSignal): Promise<readonly StorePath[]> {
    const faults: Fault[] = [];
    for (const source of this.#sources) {
      const answer = await this.#look(path, source, signal);
      if ("narInfo" in answer) {
        const { narInfo } = answer;
        this.served.set(path, { narInfo, source });
        return narInfo.references;
      }
      faults.push(answer.fault);
    }
    this.holes.set(path, { path, faults });
    return [];
  }

  async #look(path: StorePath, source: Source, signal: AbortSignal): ReturnType<typeof look> {
    const server = source.reader.url;
    try {
      if (!this.silent.has(server)) return await look(path, source, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof HandpickError)) throw error;
      this.silent.set(server, error);
    }
    return { fault: { code: "unanswered", server } };
  }
}
