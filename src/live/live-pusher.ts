import { cacheNames, chooseCache, wantedCache } from "../config/choose-cache.ts";
import type { Config } from "../config/config.ts";
import type { Pick } from "../nix/manifest.ts";
import type { StorePath } from "../nix/store-path.ts";
import { type Failure, isLasting, isOutage, toFailure } from "../error.ts";
import { SharedPacker } from "../push/shared-packer.ts";
import type { StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { routePicks } from "../run/idle-caches.ts";
import type { OpenOptions } from "../run/open-caches.ts";
import { isHoleFailing, runCache } from "../run/cache-run.ts";
import type { RunEvent } from "../run/events.ts";
import { closeHeld, type HeldPicks, type PlannedPick } from "../run/gather.ts";
import { Tally } from "../run/tally.ts";
import { closable, presentPart } from "../sync/wanted-picks.ts";
import { HeldBuilds } from "./held-builds.ts";
import { LivePicks } from "./live-picks.ts";

export interface LivePusherOptions extends OpenOptions {
  readonly config: Config;
  readonly store: Store;
  /** The folder whose selections count; undefined for none. */
  readonly folder: StateFolder | undefined;
  /** The caches that all goes to; none leaves it to picks and rules. */
  readonly to: readonly string[];
  readonly signal: AbortSignal;
  readonly onEvent: (event: RunEvent) => void;
}

/** Picks, and what packs them. */
interface Packable extends HeldPicks {
  readonly packer: SharedPacker;
}

/**
 * Pushes new paths as far as the rules accept them, each cache on its own. What a cache misses while
 * it cannot be reached is kept for {@link LivePusher.retry}, and from garbage collection; one that refuses
 * is left alone.
 */
export class LivePusher implements AsyncDisposable {
  readonly tally: Tally = new Tally();
  readonly #options: LivePusherOptions;
  readonly #picks: LivePicks;
  readonly #held: HeldBuilds;
  readonly #missed = new Map<string, Pick[]>();
  readonly #refusing = new Set<string>();
  readonly #warnings = new Set<string>();

  constructor(options: LivePusherOptions) {
    this.#options = options;
    this.#held = new HeldBuilds(options.store);
    this.#picks = new LivePicks({ ...options, onNote: (text) => this.#note(text) });
  }

  /** True if a cache missed something. */
  get isBehind(): boolean {
    return this.#missed.size > 0;
  }

  /**
   * Pushes the picks that the paths stand for; `onChosen` hears of them before anything is sent, since
   * an interruption may come then.
   *
   * @throws {HandpickError} If the store fails. What a cache does wrong is told and counted.
   * @throws The reason `signal` was aborted with.
   */
  async push(
    paths: readonly StorePath[],
    onChosen: (picks: readonly Pick[]) => void,
  ): Promise<void> {
    if (paths.length === 0) return;
    await using held = await this.#options.store.hold(paths);
    const picks = await this.#picks.choose([...held.valid]);
    onChosen(picks);
    if (picks.length > 0) await this.#pushPicks(picks);
  }

  /** Tries once more what caches missed. */
  async retry(): Promise<void> {
    const missed = [...this.#missed];
    this.#missed.clear();
    const picks = missed.flatMap(([name, own]) => own.map((pick) => ({ ...pick, caches: [name] })));
    await this.#pushPicks(picks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held[Symbol.asyncDispose]();
  }

  async #pushPicks(picks: readonly Pick[]): Promise<void> {
    const { store } = this.#options;
    await using stack = new AsyncDisposableStack();
    const paths = new Set(picks.flatMap((pick) => pick.paths));
    const { valid } = stack.use(await store.hold(paths));
    for (const pick of picks) this.#tellLost(pick, valid);
    const present = picks.map((pick) => presentPart(pick, valid, (text) => this.#note(text)));
    const usable = await closable(present, store, ({ message }) => this.#note(message));
    const namesOf =
      this.#options.to.length === 0
        ? (await routePicks(usable, this.#options)).namesOf
        : (pick: Pick): string[] => this.#cachesOf(pick);
    const held = stack.use(await closeHeld(usable, { store, namesOf }));
    const names = new Set(held.planned.flatMap(({ caches }) => caches));
    const dir = this.#options.folder?.dir;
    const packer = stack.use(new SharedPacker(dir === undefined ? {} : { spoolDir: dir }));
    await Promise.all([...names].map((name) => this.#pushTo(name, { ...held, packer })));
  }

  /** A manifest may name what is not there. */
  #tellLost(pick: Pick, valid: ReadonlySet<StorePath>): void {
    for (const path of pick.paths.filter((path) => !valid.has(path))) {
      const message = `Cannot push ${path}: it is not in the Nix store`;
      const error = { code: "STORE_PATH_GONE", message } as const;
      for (const cache of this.#cachesOf(pick)) {
        this.#show({ event: "failed", cache, path, error });
      }
    }
  }

  #cachesOf(pick: Pick): string[] {
    const { to, config } = this.#options;
    return cacheNames(to.length === 0 ? pick.caches : to, config);
  }

  async #pushTo(name: string, held: Packable): Promise<void> {
    const own = held.planned.filter(({ caches }) => caches.includes(name));
    this.tally.begin(
      name,
      own.flatMap(({ paths }) => paths),
    );
    if (this.#refusing.has(name)) return;
    const failure = this.#missed.has(name) ? undefined : await this.#tryCache(name, held);
    if (failure !== undefined && isLasting(failure.code)) this.#refusing.add(name);
    if (this.#missed.has(name) || isOutage(failure?.code ?? "")) await this.#keep(name, own);
  }

  async #keep(name: string, picks: readonly PlannedPick[]): Promise<void> {
    const plain = picks.map(({ members: _members, ...pick }) => pick);
    this.#missed.set(name, [...(this.#missed.get(name) ?? []), ...plain]);
    await this.#held.add(picks.flatMap(({ paths }) => paths));
  }

  /** Returns what kept the cache from it all, if something did. */
  async #tryCache(name: string, held: Packable): Promise<Failure | undefined> {
    const { config, signal, to } = this.#options;
    const choose = to.length > 0 ? chooseCache : wantedCache;
    try {
      return await runCache(choose(config, name), held, {
        ...this.#options,
        packer: held.packer,
        onWarning: (text) => this.#warn(text),
        onDecided: ({ plan }) => {
          const order = { plan, isCalledOff: isHoleFailing(plan, config) };
          this.tally.plan(order);
          return order;
        },
        onEvent: (event) => this.#show(event),
      });
    } catch (error) {
      signal.throwIfAborted();
      const failure = toFailure(error);
      const message = `${name}: ${failure.message}`;
      this.#options.onEvent({ event: "error", error: { ...failure, message } });
      return failure;
    }
  }

  #note(text: string): void {
    this.#options.onEvent({ event: "note", text });
  }

  #show(event: RunEvent): void {
    this.tally.count(event);
    this.#options.onEvent(event);
  }

  #warn(text: string): void {
    if (this.#warnings.has(text)) return;
    this.#warnings.add(text);
    this.#note(`warning: ${text}`);
  }
}
