import type { Cache } from "../cache/contract.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Action, Decision, Reason } from "../plan/plan.ts";
import { type Failure, HandpickError, isRefusal, toFailure } from "../error.ts";
import type { PushEvent } from "../push/events.ts";
import { PackPool, type PackPoolOptions } from "../push/pack-pool.ts";
import { pushPaths } from "../push/push-paths.ts";
import type { Store } from "../store/store.ts";
import { compressionFor } from "./open-caches.ts";
import type { Decided, PreparedCache } from "./prepare.ts";
import type { Summary } from "./summary.ts";

/** What a run tells: one `plan` a cache first, what happens to paths, one `summary` last. */
export type RunEvent =
  | PushEvent
  | {
      readonly event: "plan";
      readonly cache: string;
      readonly selected: number;
      readonly push: number;
      readonly pushBytes: number;
      readonly present: number;
      readonly upstream: number;
      readonly held: number;
      readonly excluded: number;
    }
  | {
      readonly event: "excluded";
      readonly cache: string;
      readonly path: StorePath;
      readonly reason: Reason;
    }
  | {
      readonly event: "pinned";
      readonly cache: string;
      readonly name: string;
      readonly path: StorePath;
    }
  | {
      readonly event: "pin-failed";
      readonly cache: string;
      readonly name: string;
      readonly path: StorePath;
      readonly error: Failure;
    }
  | { readonly event: "rejected"; readonly input: string; readonly error: Failure }
  | {
      readonly event: "note";
      readonly text: string;
      /** Set where the text tells of something that is wrong: it is printed even if little else is. */
      readonly level?: "error";
    }
  | { readonly event: "error"; readonly error: Failure }
  | Summary;

export interface PushPlanOptions {
  readonly store: Store;
  readonly signal: AbortSignal;
  readonly onEvent: (event: RunEvent) => void;
  /** With "fail", nothing is sent while something is held. */
  readonly onHole: "hold" | "fail" | "push-anyway";
  readonly pool?: PackPoolOptions;
}

/** How carrying out a plan ended. */
export interface PushEnd {
  /** Counts over all caches. */
  readonly summary: Summary;
  /** Why caches got nothing, or nothing more. Each was told in an `error` event. */
  readonly failures: readonly unknown[];
  /** Paths and pins that failed or are held by themselves, not for one of the `failures`. */
  readonly troubled: number;
}

/**
 * Carries out a plan, all caches at once. What goes wrong with a path or a cache stops no other one.
 *
 * @throws The reason `signal` was aborted with, after the summary.
 */
export async function pushPlan(prepared: Decided, options: PushPlanOptions): Promise<PushEnd> {
  const startMs = performance.now();
  const { signal } = options;
  const tally = new Tally();
  const onEvent = (event: RunEvent): void => {
    tally.count(event);
    options.onEvent(event);
  };
  for (const { input, error } of prepared.rejected) {
    onEvent({ event: "rejected", input, error: toFailure(error) });
  }
  const failures: unknown[] = [];
  const fail = (reason: unknown): void => {
    if (reason === signal.reason) return;
    failures.push(reason);
    onEvent({ event: "error", error: toFailure(reason) });
  };
  for (const failure of prepared.failures) fail(failure);
  const shares = countTaking(prepared);
  const push = (decided: Decided): Promise<void> =>
    pushDecided(decided, { options: { ...options, onEvent }, tally, fail, shares });
  const pushLate = async (late: Promise<Decided>): Promise<void> => {
    try {
      const decided = await late;
      for (const text of decided.warnings) onEvent({ event: "note", text: `warning: ${text}` });
      await push(decided);
    } catch (error) {
      fail(error);
    }
  };
  await Promise.all([push(prepared), ...(prepared.late ?? []).map(pushLate)]);
  const troubled = tally.counts.failed + tally.counts.held;
  const isGivenUp = signal.aborted || failures.length > prepared.failures.length;
  if (isGivenUp) tally.giveUp(signal.aborted ? "unfinished" : "failed");
  if (signal.aborted) onEvent({ event: "error", error: toFailure(signal.reason) });
  const summary = tally.summary(performance.now() - startMs);
  onEvent(summary);
  signal.throwIfAborted();
  return { summary, failures, troubled };
}

interface PushContext {
  readonly options: PushPlanOptions;
  readonly tally: Tally;
  /** Told why a cache got nothing more. */
  readonly fail: (reason: unknown) => void;
  readonly shares: number;
}

async function pushDecided(
  decided: Decided,
  { options, tally, fail, shares }: PushContext,
): Promise<void> {
  for (const { cache } of decided.caches) announce(cache.name, decided, options.onEvent);
  tally.plan(decided.plan.paths);
  if (options.onHole === "fail" && tally.counts.held > 0) return;
  for (const end of await pushAll(decided, options, shares))
    if (end.status === "rejected") fail(end.reason);
}

/** What `push --json` ends with when it failed before anything was decided. */
export function emptySummary(failed = 0): Summary {
  return { ...new Tally().summary(0), failed };
}

/** Each cache has its share of threads and memory: one that takes nothing holds nothing of others. */
async function pushAll(
  prepared: Decided,
  options: PushPlanOptions,
  shares: number,
): Promise<PromiseSettledResult<void>[]> {
  return await Promise.allSettled(
    prepared.caches.map(async (cache) => {
      await using pool = new PackPool({ ...options.pool, shares });
      const unavailable = await pushCache(cache, { prepared, pool, options, shares });
      await pinPicks(cache, { prepared, options, unavailable });
    }),
  );
}

/** Counts the caches that something goes to, and those that may turn out to be such. */
function countTaking({ plan, late = [] }: Decided): number {
  const taking = plan.paths.flatMap(({ action, cache }) => (action === "push" ? [cache] : []));
  return Math.max(new Set(taking).size + late.length, 1);
}

interface Work {
  readonly shares: number;
  readonly prepared: Decided;
  readonly pool: PackPool;
  readonly options: PushPlanOptions;
}

/** Pushes what one cache lacks; returns the paths that readers will not find there. */
async function pushCache(
  { cache, config, credentials, info }: PreparedCache,
  { prepared, pool, options, shares }: Work,
): Promise<Set<StorePath>> {
  const mine = prepared.plan.paths.filter((decision) => decision.cache === cache.name);
  const unavailable = new Set<StorePath>();
  for (const { path, action } of mine) {
    if (action === "held" || action === "excluded") unavailable.add(path);
  }
  const tasks = mine.flatMap(({ path, action }) => {
    const record = action === "push" ? prepared.infos.get(path) : undefined;
    return record === undefined
      ? []
      : [{ info: record, physicalPath: options.store.physicalPath(path) }];
  });
  await pushPaths(tasks, {
    cache,
    pool,
    shares,
    compression: compressionFor(config, info),
    level: config.compressionLevel,
    signingKey: credentials.signingKey,
    // No key of the cache, and none of ours: it may well want signatures, and says so only at the end.
    isDoubtful: credentials.signingKey === undefined && info?.publicKeys.length === 0,
    signal: options.signal,
    onEvent: (event) => {
      if (event.event === "failed" || event.event === "held") unavailable.add(event.path);
      options.onEvent(event);
    },
  });
  return unavailable;
}

interface PinWork {
  readonly prepared: Decided;
  readonly options: PushPlanOptions;
  readonly unavailable: ReadonlySet<StorePath>;
}

/** Pins the first path of every pick that asks for it, is in the cache and not yet pinned. */
async function pinPicks(
  { cache }: PreparedCache,
  { prepared, options, unavailable }: PinWork,
): Promise<void> {
  const mine = prepared.picks.filter((pick) => pick.caches.includes(cache.name));
  if (cache.pin === undefined || mine.every(({ pin }) => pin === undefined)) return;
  const pinned = await currentPins(cache, options.signal);
  const upstream = new Set(
    prepared.plan.paths
      .filter((one) => one.cache === cache.name && one.action === "upstream")
      .map(({ path }) => path),
  );
  for (const { pin, paths } of mine) {
    const path = paths[0];
    if (pin === undefined || path === undefined || unavailable.has(path)) continue;
    if (pinned.get(pin) === path) continue;
    if (upstream.has(path)) {
      const text = `${cache.name}: ${path} is not pinned as ${pin}: an upstream has it, not this cache`;
      options.onEvent({ event: "note", text });
      continue;
    }
    const about = { cache: cache.name, name: pin, path };
    try {
      await cache.pin({ name: pin, storePath: path }, options.signal);
      options.onEvent({ event: "pinned", ...about });
    } catch (error) {
      options.signal.throwIfAborted();
      if (error instanceof HandpickError && isRefusal(error.code)) throw error;
      options.onEvent({ event: "pin-failed", ...about, error: toFailure(error) });
    }
  }
}

/** Every pin adds a revision, so what is pinned already is left alone. */
async function currentPins(
  cache: Cache,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string | undefined>> {
  try {
    return (await cache.pins?.(signal)) ?? new Map();
  } catch {
    // A service that does not list its pins still takes them; its refusal would tell there.
    signal.throwIfAborted();
    return new Map();
  }
}

function announce(cache: string, { plan }: Decided, onEvent: (event: RunEvent) => void): void {
  const mine = plan.paths.filter((decision) => decision.cache === cache);
  const number = (action: Action): number => mine.filter((one) => one.action === action).length;
  const pushBytes = mine.reduce((sum, one) => sum + (one.action === "push" ? one.narSize : 0), 0);
  onEvent({
    event: "plan",
    cache,
    selected: mine.length,
    push: number("push"),
    pushBytes,
    present: number("present"),
    upstream: number("upstream"),
    held: number("held"),
    excluded: number("excluded"),
  });
  for (const { path, action, reason } of mine) {
    if (action === "held" || action === "excluded") onEvent({ event: action, cache, path, reason });
  }
}

const FAILURES: ReadonlySet<RunEvent["event"]> = new Set<RunEvent["event"]>([
  "failed",
  "pin-failed",
  "rejected",
]);

/** Counts outcomes from the plan (what was known before) and from events (what happened). */
class Tally {
  readonly counts = {
    pushed: 0,
    present: 0,
    upstream: 0,
    held: 0,
    excluded: 0,
    failed: 0,
    unfinished: 0,
  };
  uploadedBytes = 0;

  #planned = 0;
  /** How many of those came to an end. */
  #ended = 0;

  plan(decisions: readonly Decision[]): void {
    for (const { action } of decisions) {
      if (action === "push") this.#planned += 1;
      if (action === "present" || action === "upstream") this.counts[action] += 1;
    }
  }

  /** Counts what was to be pushed and no longer will be. */
  giveUp(as: "failed" | "unfinished"): void {
    this.counts[as] += Math.max(this.#planned - this.#ended, 0);
  }

  summary(durationMs: number): Summary {
    const { counts, uploadedBytes } = this;
    return { event: "summary", ...counts, uploadedBytes, durationMs: Math.round(durationMs) };
  }

  count(event: RunEvent): void {
    if (event.event === "pushed" || event.event === "failed") this.#ended += 1;
    if (event.event === "held" && event.reason.code === "reference-failed") this.#ended += 1;
    if (event.event === "held" || event.event === "excluded") this.counts[event.event] += 1;
    if (FAILURES.has(event.event)) this.counts.failed += 1;
    if (event.event !== "pushed") return;
    this.counts.pushed += 1;
    this.uploadedBytes += event.fileSize;
  }
}
