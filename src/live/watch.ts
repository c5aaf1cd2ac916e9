import type { Config } from "../config/config.ts";
import type { StorePath } from "../nix/store-path.ts";
import { isLedgerDamaged } from "../state/ledger-file.ts";
import { isLedgerError, Ledger } from "../state/ledger.ts";
import type { PassedOver } from "../state/passed-over.ts";
import { hasNews } from "../state/spool.ts";
import { makeStateFolder, type StateFolder, stateUnusable } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { noteReturn } from "../sync/builds.ts";
import { acceptedByRules } from "../run/built-picks.ts";
import { dueTimes } from "../sync/due.ts";
import type { SyncEnd } from "../sync/sync.ts";
import { HeldBuilds } from "./held-builds.ts";
import { StoreSource } from "./store-source.ts";
import { wakes } from "./wakes.ts";

export interface WatchRequest {
  readonly folder: StateFolder;
  readonly config: Config;
  readonly store: Store;
  /** True if paths count that were not built here but brought in. */
  readonly substituted: boolean;
  /** True to begin where the last watch of this state folder stood, and not now. */
  readonly resume: boolean;
  readonly signal: AbortSignal;
  /** Files that syncs leave alone in the state folder. */
  readonly passedOver: PassedOver;
  /** Runs a sync of the state folder. */
  readonly sync: () => Promise<SyncEnd>;
  /** Told once nothing that comes is missed. */
  readonly onReady: () => void;
  /** Told what of builds is left out. */
  readonly onNote: (text: string) => void;
  /** Told of a look that failed; the next one tries again. */
  readonly onFailure: (error: unknown) => void;
}

/** How often it looks while a sync is at work, this one's or another. */
const TURN_MS = 1_000;
/** Nothing says when a store or a disk that failed works again. */
const FAILED_MS = 30_000;

/**
 * Hands new store paths that the rules accept to the ledger and has a sync push them, until `signal`
 * is aborted:
 *
 *     new paths -> built here? -> accepted? -> ledger -> mark -> anything to do? -> sync
 *
 * Builds in the ledger are pushed now or later, by this process or by another, so nothing of it is
 * kept here. A sync at work is told by the ledger of what comes meanwhile.
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
  /** True if a sync is to start whether or not it is time for one. */
  #hasToSync = true;
  #syncing: Promise<void> | undefined;
  #nextDue = Infinity;
  /** Paths accepted since the last sync began, and those that a failed one could not root. */
  readonly #held: HeldBuilds;

  constructor(source: StoreSource, request: WatchRequest) {
    this.#source = source;
    this.#request = request;
    this.#held = new HeldBuilds(request.store);
  }

  /** How long to wait if nothing new comes. */
  patienceMs(): number {
    const isSoon = this.#hasToSync || this.#syncing !== undefined;
    return isSoon ? TURN_MS : Math.max(this.#nextDue - Date.now(), TURN_MS);
  }

  async look(): Promise<void> {
    try {
      await this.#takeIn();
      if (await this.#isTime()) this.#startSync();
    } catch (error) {
      this.#fail(error);
      // A sync replaces it, and the next look takes in what this one could not.
      if (isLedgerDamaged(this.#request.folder)) this.#startSync();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncing;
    await this.#held[Symbol.asyncDispose]();
  }

  #startSync(): void {
    this.#syncing ??= this.#sync()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => (this.#syncing = undefined));
  }

  #fail(error: unknown): void {
    const { signal, folder, onFailure } = this.#request;
    if (signal.aborted) return;
    onFailure(isLedgerError(error) ? stateUnusable(folder.dir, error) : error);
    this.#hasToSync = false;
    this.#nextDue = Date.now() + FAILED_MS;
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
    const { folder, store, config, onNote } = this.#request;
    await using held = await store.hold(paths);
    const valid = [...held.valid];
    const accepted = await acceptedByRules(valid, { config, store }, onNote);
    if (accepted.length > 0) await this.#held.add(accepted);
    using ledger = Ledger.open(folder);
    const isBack = noteReturn(ledger, valid);
    if (accepted.length === 0 && !isBack) return;
    ledger.addBuilds(accepted, Date.now());
    this.#hasToSync = true;
  }

  async #isTime(): Promise<boolean> {
    const { folder, passedOver } = this.#request;
    return this.#hasToSync || this.#nextDue <= Date.now() || (await hasNews(folder, passedOver));
  }

  async #sync(): Promise<void> {
    const { folder, store, sync } = this.#request;
    this.#hasToSync = false;
    this.#nextDue = Infinity;
    await using held = new HeldBuilds(store);
    held.absorb(this.#held);
    try {
      const { isOtherAtWork } = await sync();
      if (isOtherAtWork) {
        this.#hasToSync = true;
        this.#held.absorb(held);
        return;
      }
    } catch (error) {
      this.#held.absorb(held);
      throw error;
    }
    using ledger = Ledger.openReadOnly(folder);
    if (ledger !== undefined) this.#nextDue = Math.min(...dueTimes(ledger, Date.now()).values());
  }
}

/** A state folder may have been used with another store. */
function markText({ storeDir }: Store, mark: number): string {
  return `${mark} ${storeDir}`;
}

function readMark({ folder, store }: WatchRequest): number | undefined {
  try {
    using ledger = Ledger.openReadOnly(folder);
    const [, mark, storeDir] = /^(\d+) (.*)$/.exec(ledger?.fact("watchMark") ?? "") ?? [];
    return storeDir === store.storeDir ? Number(mark) : undefined;
  } catch (error) {
    if (isLedgerDamaged(folder)) return undefined;
    throw error;
  }
}
