import type { Config } from "../config/config.ts";
import type { StorePath } from "../nix/store-path.ts";
import { Ledger } from "../state/ledger.ts";
import { hasNews } from "../state/spool.ts";
import { makeStateFolder, type StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { acceptedByRules } from "../sync/accept.ts";
import { dueTimes } from "../sync/due.ts";
import type { SyncEnd } from "../sync/sync.ts";
import { LivePicks } from "./live-picks.ts";
import { StoreSource } from "./store-source.ts";
import { wakes } from "./wakes.ts";

export interface WatchRequest {
  readonly folder: StateFolder;
  readonly config: Config;
  readonly store: Store;
  /** Whether paths count that were not built here but brought in. */
  readonly substituted: boolean;
  /** Whether to begin where the last watch of this state folder stood, and not now. */
  readonly resume: boolean;
  readonly signal: AbortSignal;
  /** Runs a sync of the state folder, which asks all caches now if it is forced to. */
  readonly sync: (isForced: boolean) => Promise<SyncEnd>;
  /** Told once nothing that comes is missed. */
  readonly onReady: () => void;
  /** Told of a look that failed; the next one tries again. */
  readonly onFailure: (error: unknown) => void;
}

/** While another sync is at work it is asked for its end so often. */
const TURN_MS = 1_000;
/** Nothing says when a store or a disk that failed works again. */
const FAILED_MS = 30_000;

/**
 * Hands new store paths that the rules accept to the ledger and has a sync push them, until `signal`
 * is aborted:
 *
 *     new paths -> built here? -> accepted? -> ledger -> mark -> anything to do? -> sync
 *
 * What is in the ledger is pushed now or later, by this process or by another, so nothing of it is
 * kept here. What comes during a sync waits in the database of Nix.
 *
 * @throws {HandpickError} If store or state folder cannot be used at the start.
 */
export async function watchStore(request: WatchRequest): Promise<void> {
  const { folder, store, signal, substituted } = request;
  await makeStateFolder(folder);
  const mark = request.resume ? readMark(request) : undefined;
  await using source = await StoreSource.open(store, { substituted, mark });
  await using watcher = new Watcher(source, request);
  request.onReady();
  for await (const _ of wakes(source.folder, { signal, pollMs: () => watcher.patienceMs() })) {
    await watcher.look();
  }
}

class Watcher implements AsyncDisposable {
  readonly #source: StoreSource;
  readonly #request: WatchRequest;
  readonly #picks: LivePicks;
  /** What is to be done whether or not it is time for it. */
  #wish: "nothing" | "sync" | "forced sync" = "sync";
  #isOtherAtWork = false;
  #nextDue = Infinity;
  /** Keeps what was accepted until a sync does. */
  #held = new AsyncDisposableStack();

  constructor(source: StoreSource, request: WatchRequest) {
    this.#source = source;
    this.#request = request;
    this.#picks = new LivePicks(request);
  }

  /** How long to wait if nothing new comes. */
  patienceMs(): number {
    return this.#isOtherAtWork ? TURN_MS : Math.max(this.#nextDue - Date.now(), TURN_MS);
  }

  async look(): Promise<void> {
    const { signal, onFailure } = this.#request;
    try {
      await this.#takeIn();
      await this.#syncIfDue();
    } catch (error) {
      if (!signal.aborted) onFailure(error);
      this.#nextDue = Date.now() + FAILED_MS;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }

  /** The mark is written after the paths: a watch that is killed takes some twice and misses none. */
  async #takeIn(): Promise<void> {
    const { folder, store } = this.#request;
    const before = this.#source.mark;
    const { paths, done } = await this.#source.take();
    if (paths.length > 0) await this.#record(paths);
    await done();
    if (this.#source.mark === before) return;
    using ledger = Ledger.open(folder);
    ledger.setFact("watchMark", markText(store, this.#source.mark));
  }

  async #record(paths: readonly StorePath[]): Promise<void> {
    const { folder, store } = this.#request;
    await using held = await store.hold(paths);
    const valid = [...held.valid];
    // The ledger does not know that they were missing.
    if ((await this.#picks.wantedParts(valid)).length > 0) this.#wish = "forced sync";
    const accepted = await acceptedByRules(valid, this.#request);
    if (accepted.length === 0) return;
    await using kept = new AsyncDisposableStack();
    kept.use(await store.hold(accepted));
    using ledger = Ledger.open(folder);
    ledger.addBuilds(accepted, Date.now());
    this.#held.use(kept.move());
    if (this.#wish === "nothing") this.#wish = "sync";
  }

  async #syncIfDue(): Promise<void> {
    const { folder, sync } = this.#request;
    const isDue = this.#nextDue <= Date.now();
    if (this.#wish === "nothing" && !isDue && !(await hasNews(folder))) return;
    const { isOtherAtWork } = await sync(this.#wish === "forced sync");
    this.#isOtherAtWork = isOtherAtWork;
    if (isOtherAtWork) {
      if (this.#wish === "nothing") this.#wish = "sync";
      return;
    }
    this.#wish = "nothing";
    await this.#held.disposeAsync();
    this.#held = new AsyncDisposableStack();
    using ledger = Ledger.openReadOnly(folder);
    this.#nextDue = ledger === undefined ? Infinity : Math.min(...dueTimes(ledger).values());
  }
}

/** A state folder may have been used with another store. */
function markText({ storeDir }: Store, mark: number): string {
  return `${mark} ${storeDir}`;
}

function readMark({ folder, store }: WatchRequest): number | undefined {
  using ledger = Ledger.openReadOnly(folder);
  const [, mark, storeDir] = /^(\d+) (.*)$/.exec(ledger?.fact("watchMark") ?? "") ?? [];
  return storeDir === store.storeDir ? Number(mark) : undefined;
}
