import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { HandpickError } from "../error.ts";
import type { NarInfo } from "../nix/narinfo.ts";
import { type StorePath, storeDirOf } from "../nix/store-path.ts";
import type { Fault, Hole } from "./fault.ts";
import { hasCacheInfo, look, type Source } from "./source.ts";

/** Paths under way at once: each is a question or two, and each server limits those to itself. */
const PATHS_AT_ONCE = 192;

/** More than any machine has; a server may refer to new paths without end. */
const MOST_PATHS = 500_000;
/** More than paths have on average; one narinfo may have 20 000. */
const REFERENCES_PER_PATH = 16;

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
  /** How many paths are looked at. @default {500_000} */
  readonly mostPaths?: number;
  /** Told after each path. */
  readonly onPath?: (done: number, known: number) => void;
}

/**
 * Asks for paths and for all that their narinfos refer to, as readers do: each server in turn, until one of them
 * has the path. One that gives no answer is asked no more.
 *
 * @throws {HandpickError} `CACHE_PROTOCOL` if narinfos refer to more paths than `mostPaths`.
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
  readonly #opened = new Map<Source, Promise<boolean>>();
  readonly #known = new Set<StorePath>();
  #references = 0;

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
        const references = await this.#one(path, signal);
        this.#references += references.length;
        for (const reference of references) if (!this.#known.has(reference)) next.add(reference);
        this.#assertBounded(next);
        onPath?.(this.served.size + this.holes.size, this.#known.size);
      });
      open = next;
    }
  }

  /** @throws {HandpickError} If narinfos go on without end. */
  #assertBounded(next: ReadonlySet<StorePath>): void {
    const { mostPaths = MOST_PATHS } = this.#options;
    const isBounded =
      this.#known.size + next.size <= mostPaths &&
      this.#references <= mostPaths * REFERENCES_PER_PATH;
    if (isBounded) return;
    const servers = this.#sources.map(({ reader }) => reader.url).join(", ");
    throw new HandpickError(
      "CACHE_PROTOCOL",
      `Cannot look at all that narinfos of ${servers} refer to: expected at most ${mostPaths} paths`,
      { hint: "Check what this cache serves: no store has so much." },
    );
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

  async #open(source: Source, path: StorePath, signal: AbortSignal): Promise<boolean> {
    const opening = this.#opened.get(source) ?? hasCacheInfo(storeDirOf(path), source, signal);
    this.#opened.set(source, opening);
    return await opening;
  }

  async #look(path: StorePath, source: Source, signal: AbortSignal): ReturnType<typeof look> {
    const server = source.reader.url;
    try {
      const isCache = await this.#open(source, path, signal);
      if (!this.silent.has(server)) {
        const answer = await look(path, source, signal);
        const isRefused = "narInfo" in answer && !isCache;
        return isRefused ? { fault: { code: "no-cache-info", server } } : answer;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof HandpickError)) throw error;
      this.silent.set(server, error);
    }
    return { fault: { code: "unanswered", server } };
  }
}
