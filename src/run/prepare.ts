import type { CacheInfo } from "../cache/contract.ts";
import { askUpstreams } from "../cache/upstream.ts";
import type { UpstreamAnswer } from "../cache/upstream.ts";
import type { CacheConfig, Config } from "../config/config.ts";
import { withoutSecrets } from "../config/credentials.ts";
import { HandpickError } from "../error.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { Pick } from "../nix/manifest.ts";
import { hashPartOf } from "../nix/store-path.ts";
import type { HashPart, StorePath } from "../nix/store-path.ts";
import { makePlan, queryPaths } from "../plan/make-plan.ts";
import type { PlanCache } from "../plan/make-plan.ts";
import { joinPlans } from "../plan/join-plans.ts";
import type { Plan } from "../plan/plan.ts";
import { closePicks } from "../select/closure.ts";
import type { ClosedPick } from "../select/closure.ts";
import { type RejectedInput, selectPicks } from "../select/select.ts";
import type { Store } from "../store/store.ts";
import { idleCaches } from "./idle-caches.ts";
import { firstReady } from "./first-ready.ts";
import { cachesFor, openConfigured, retryNotice } from "./open-caches.ts";
import type { OpenedCache, OpenOptions } from "./open-caches.ts";
import { rejectionError, rejectLost } from "./reject-lost.ts";
import { withMissingToken } from "./with-missing-token.ts";

export interface PrepareRequest extends OpenOptions {
  /** Paths, links, installables and manifests as the user gave them. */
  readonly inputs: readonly string[];
  /** Names or URLs of caches; none lets the picks and the configuration decide. */
  readonly to: readonly string[];
  /** True if `to` is all of the configuration, and names none by itself. @default {false} */
  readonly isAll?: boolean;
  /** Refuse all inputs if one of them cannot be selected. */
  readonly allOrNothing: boolean;
  readonly config: Config;
  readonly store: Store;
  readonly cwd: string;
  readonly signal: AbortSignal;
  /** Paths that an upstream had when it last answered: taken as there where one does not. */
  readonly remembered?: ReadonlySet<StorePath>;
  /** True to push what an upstream may have that does not answer. @default {false} */
  readonly assumeMissing?: boolean;
  /**
   * Looks at each cache that lacks something, before anything is sent; throws to stop. Without it
   * caches are asked for nothing but what they lack.
   */
  readonly inspect?: (cache: OpenedCache, info: CacheInfo) => void;
  /** Go on once a cache has answered, and leave those that take long to `late`. @default {false} */
  readonly mayBeLate?: boolean;
}

export interface PreparedCache extends OpenedCache {
  /** Known where something is to be sent. */
  readonly info: CacheInfo | undefined;
}

/** A pick with the names of the caches it goes to. */
export interface RoutedPick extends Pick {
  readonly caches: string[];
}

/** Everything decided and nothing sent. */
export interface Decided {
  readonly picks: readonly PlannedPick[];
  readonly plan: Plan;
  readonly caches: readonly PreparedCache[];
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
  readonly warnings: readonly string[];
  /** Why caches that the picks go to are left out: they could not be asked, or would not take anything. */
  readonly failures: readonly HandpickError[];
  /** Caches that did not answer in time, each decided about alone; they reject as those above fail. */
  readonly late?: readonly Promise<Decided>[];
  /** Inputs, or paths of manifests, that are left out since they cannot be selected. */
  readonly rejected: readonly RejectedInput[];
}

/** Dispose to let go of store and caches. */
export interface Prepared extends Decided, AsyncDisposable {}

/**
 * Selects, closes over references, asks the caches and decides. The roots are protected from
 * garbage collection before they are read, until the result is disposed.
 *
 * @throws {AggregateError} If every cache fails; one that does beside others is left out.
 * @throws {HandpickError} Also if no input can be selected.
 */
export async function prepare(request: PrepareRequest): Promise<Prepared> {
  // What runs side by side ends with the first failure, and asks nobody again after it.
  const failed = new AbortController();
  const signal = AbortSignal.any([request.signal, failed.signal]);
  try {
    return await decide({ ...request, signal });
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

async function decide(request: PrepareRequest): Promise<Prepared> {
  await using stack = new AsyncDisposableStack();
  const { config, store } = request;
  const env = withoutSecrets(request.env, config);
  const selected = await selectPicks(request.inputs, { ...request, env });
  const roots = new Set(selected.picks.flatMap((pick) => pick.paths));
  const { valid } = stack.use(await store.hold(roots));
  const { picks, declared, rejected } = await rejectLost(selected, { store, valid });
  const rejection = rejectionError(rejected);
  if (rejection !== undefined && (picks.length === 0 || request.allOrNothing)) throw rejection;
  const { to } = request;
  const routes = new Map(
    picks.map((pick) => [pick, cachesFor(pick, { config, to, isDeclared: declared.has(pick) })]),
  );
  const used = await usedCaches(uniqueCaches([...routes.values()].flat()), request);
  const opened = await Promise.all(used.map((cache) => openConfigured(cache, request)));
  for (const { cache } of opened) stack.use(cache);
  const isUsed = new Set(used.map(({ name }) => name));
  const namesOf = (pick: Pick): string[] =>
    (routes.get(pick) ?? []).map(({ name }) => name).filter((name) => isUsed.has(name));
  const { planned, infos } = stack.use(await closeHeld(picks, { store, namesOf }));
  const members = { planned, infos };
  const decisions = opened.map((one) => prepareCache(one, members, request));
  const { ends, late } =
    request.mayBeLate === true
      ? await firstReady(decisions)
      : { ends: await Promise.allSettled(decisions), late: [] };
  const { results, failures } = sortEnds(ends);
  if (late.length === 0) assertSome(results, failures);
  const kept = stack.move();
  return {
    picks: planned,
    caches: results.flatMap(({ caches }) => caches),
    infos,
    plan: joinPlans(results.map(({ plan }) => plan)),
    warnings: [
      ...opened.flatMap(({ credentials }) => credentials.warnings),
      ...results.flatMap(({ warnings }) => warnings),
    ],
    failures,
    late,
    rejected,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** @throws {AggregateError} Of all `failures`, where no cache is left to go on with. */
function assertSome(caches: readonly unknown[], failures: readonly HandpickError[]): void {
  if (caches.length > 0 || failures.length === 0) return;
  throw new AggregateError(failures, "Cannot go on: every cache failed");
}

/**
 * Separates results from failures.
 *
 * @throws What is no failure of a cache.
 */
function sortEnds<T>(ends: readonly PromiseSettledResult<T>[]): {
  readonly results: T[];
  readonly failures: HandpickError[];
} {
  const results = ends.flatMap((end) => (end.status === "fulfilled" ? [end.value] : []));
  const reasons: unknown[] = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  const failures = reasons.filter((reason) => reason instanceof HandpickError);
  const foreign = reasons.find((reason) => !(reason instanceof HandpickError));
  if (foreign !== undefined) throw foreign;
  return { results, failures };
}

/** A pick with all paths it stands for. */
export interface PlannedPick extends RoutedPick {
  readonly members: ReadonlySet<StorePath>;
}

export interface Members {
  readonly planned: readonly PlannedPick[];
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
}

/** Members that are safe from garbage collection until this is disposed. */
export interface HeldPicks extends Members, AsyncDisposable {
  /** What the picks' own paths do not keep alive. */
  readonly loose: ReadonlySet<StorePath>;
}

export interface CloseOptions {
  readonly store: Store;
  /** The caches that a pick goes to. */
  readonly namesOf: (pick: Pick) => string[];
}

/** Closes over references; the picks' own paths have to be held already, and remain the caller's. */
export async function closeHeld(
  picks: readonly Pick[],
  { store, namesOf }: CloseOptions,
): Promise<HeldPicks> {
  const { picks: closed, infos } = await closePicks(picks, store);
  const loose = looseRoots(closed, infos);
  const hold = await store.hold(loose);
  const planned = closed.map(({ pick, members }) => ({ ...pick, members, caches: namesOf(pick) }));
  return { planned, infos, loose, [Symbol.asyncDispose]: () => hold[Symbol.asyncDispose]() };
}

export type DecideOptions = Omit<
  PrepareRequest,
  "inputs" | "to" | "isAll" | "allOrNothing" | "store" | "cwd"
>;

/**
 * Asks one cache and decides for it alone; other caches may fail meanwhile. Its warnings are those of
 * upstreams only: the others were known when the cache was opened.
 */
export async function prepareCache(
  one: OpenedCache,
  { planned, infos }: Members,
  options: DecideOptions,
): Promise<Decided> {
  const picks = planned.filter((pick) => pick.caches.includes(one.config.name));
  const answer = await askCache(one, { planned: picks, infos }, options);
  const { rules } = options.config;
  const plan = makePlan({ closed: picks, infos, rules, caches: [answer] });
  return {
    picks,
    caches: [await inspectCache(one, plan, options)],
    infos,
    plan,
    warnings: answer.warnings,
    failures: [],
    rejected: [],
  };
}

async function inspectCache(
  one: OpenedCache,
  { paths }: Plan,
  { inspect, signal }: DecideOptions,
): Promise<PreparedCache> {
  const lacks = paths.some(({ cache, action }) => cache === one.cache.name && action === "push");
  if (inspect === undefined || !lacks) return { ...one, info: undefined };
  const info = await one.cache.info(signal);
  inspect(one, info);
  return { ...one, info };
}

/** What the picks' own paths do not keep alive: the roots of the rest of build closures. */
function looseRoots(
  picks: readonly ClosedPick[],
  infos: ReadonlyMap<StorePath, PathInfo>,
): Set<StorePath> {
  const loose = picks.filter(({ pick }) => pick.closure === "build").map(({ members }) => members);
  const roots = new Set<StorePath>(loose.flatMap((members) => [...members]));
  for (const { path, references } of infos.values()) {
    for (const reference of references) if (reference !== path) roots.delete(reference);
  }
  return roots;
}

/** Each cache once, as optional only if it is so for every pick. */
function uniqueCaches(caches: readonly CacheConfig[]): CacheConfig[] {
  const unique = new Map<string, CacheConfig>();
  for (const cache of caches) {
    const optional = cache.optional && unique.get(cache.name)?.optional !== false;
    unique.set(cache.name, { ...cache, optional });
  }
  return [...unique.values()];
}

/** Leaves out optional caches without a credential, unless somebody named one or none is left. */
async function usedCaches(
  caches: readonly CacheConfig[],
  request: PrepareRequest,
): Promise<readonly CacheConfig[]> {
  if (request.to.length > 0 && request.isAll !== true) return caches;
  const idle = await idleCaches(caches, request);
  const used = caches.filter(({ name }) => !idle.has(name));
  return used.length === 0 ? caches : used;
}

interface Answer extends PlanCache {
  /** About upstreams. */
  readonly warnings: readonly string[];
}

/** Only what the cache lacks is looked for upstream, and only where upstreams are declared. */
async function askCache(
  opened: OpenedCache,
  { planned, infos }: Members,
  options: DecideOptions,
): Promise<Answer> {
  const { cache, config } = opened;
  const { env, signal, notify } = options;
  // A cache learns the hashes of what may go there, and no others.
  const closed = planned.filter((pick) => pick.caches.includes(cache.name));
  const paths = queryPaths({ closed, infos });
  const missing = await withMissingToken(opened, () =>
    cache.missing(new Set([...paths].map(hashPartOf)), signal),
  );
  const lacked = [...paths].filter((path) => missing.has(hashPartOf(path)));
  const answer = await askUpstreams(lacked, config.upstreams ?? [], {
    env,
    signal,
    onRetry: retryNotice(cache.name, notify),
  });
  return { name: cache.name, missing, ...settle(answer, options) };
}

/** Decides what counts as there and what stays open where upstreams did not answer. */
function settle(
  { available, unknown, failures, warnings }: UpstreamAnswer,
  { remembered = new Set(), assumeMissing = false }: DecideOptions,
): Omit<Answer, "name" | "missing"> {
  const known = new Set([...remembered].map(hashPartOf)).intersection(unknown);
  const assumed = assumeMissing ? [] : [...known].map((hash) => [hash, undefined] as const);
  const fate = assumeMissing
    ? "what it may have is pushed"
    : "what was not built here is held until it answers (push --assume-missing pushes it)";
  return {
    upstream: new Map([...assumed, ...available]),
    unknown: assumeMissing ? new Set<HashPart>() : unknown.difference(known),
    warnings: [
      ...warnings,
      ...failures.map(({ message, code }) => `${message} [${code}]; ${fate}`),
    ],
  };
}
