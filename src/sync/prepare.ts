import type { CacheInfo } from "../cache/contract.ts";
import { availableUpstream } from "../cache/upstream.ts";
import type { CacheConfig, Config } from "../config/config.ts";
import { withoutSecrets } from "../config/credentials.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { Pick } from "../nix/manifest.ts";
import type { HashPart, StorePath } from "../nix/store-path.ts";
import { makePlan, queryHashes } from "../plan/make-plan.ts";
import type { Plan } from "../plan/plan.ts";
import { closePicks } from "../select/closure.ts";
import type { ClosedPick } from "../select/closure.ts";
import { selectPicks } from "../select/select.ts";
import type { Store } from "../store/store.ts";
import { cachesFor, openConfigured, retryNotice } from "./open-caches.ts";
import type { OpenedCache, OpenOptions } from "./open-caches.ts";

export interface PrepareRequest extends OpenOptions {
  /** Paths, links, installables and manifests as the user gave them. */
  readonly inputs: readonly string[];
  /** A cache's name or URL; undefined lets the picks and the configuration decide. */
  readonly to: string | undefined;
  readonly config: Config;
  readonly store: Store;
  readonly cwd: string;
  readonly signal: AbortSignal;
  /**
   * Looks at each cache that lacks something, before anything is sent; throws to stop. Without it
   * caches are asked for nothing but what they lack.
   */
  readonly inspect?: (cache: OpenedCache, info: CacheInfo) => void;
}

export interface PreparedCache extends OpenedCache {
  /** Known where something is to be sent. */
  readonly info: CacheInfo | undefined;
}

/** A pick with the names of the caches it goes to. */
export interface RoutedPick extends Pick {
  readonly caches: string[];
}

/** Everything decided and nothing sent. Dispose to let go of store and caches. */
export interface Prepared extends AsyncDisposable {
  readonly picks: readonly RoutedPick[];
  readonly plan: Plan;
  readonly caches: readonly PreparedCache[];
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
  readonly warnings: readonly string[];
}

/**
 * Selects, closes over references, asks the caches and decides. The roots are protected from
 * garbage collection before they are read, until the result is disposed.
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
  const { picks } = await selectPicks(request.inputs, { ...request, env });
  stack.use(await store.hold(new Set(picks.flatMap((pick) => pick.paths))));
  const routes = new Map(picks.map((pick) => [pick, cachesFor(pick, config, request.to)]));
  const opened = await Promise.all(
    uniqueCaches([...routes.values()].flat()).map((cache) => openConfigured(cache, request)),
  );
  for (const { cache } of opened) stack.use(cache);
  const closed = await closePicks(picks, store);
  const { infos } = closed;
  stack.use(await store.hold(looseRoots(closed.picks, infos)));
  const planned = closed.picks.map(({ pick, members }) => ({
    ...pick,
    members,
    caches: (routes.get(pick) ?? []).map(({ name }) => name),
  }));
  const answers = opened.map((one) => {
    // A cache learns the hashes of what may go there, and no others.
    const mine = planned.filter((pick) => pick.caches.includes(one.cache.name));
    return askCache(one, queryHashes({ closed: mine, infos }), request);
  });
  const plan = makePlan({
    closed: planned,
    infos,
    rules: config.rules,
    caches: await Promise.all(answers),
  });
  const caches = await Promise.all(opened.map((one) => inspectCache(one, plan, request)));
  const kept = stack.move();
  return {
    picks: planned,
    caches,
    infos,
    plan,
    warnings: opened.flatMap(({ credentials }) => credentials.warnings),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function inspectCache(
  one: OpenedCache,
  { paths }: Plan,
  { inspect, signal }: PrepareRequest,
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

function uniqueCaches(caches: readonly CacheConfig[]): CacheConfig[] {
  return [...new Map(caches.map((cache) => [cache.name, cache])).values()];
}

interface Answer {
  readonly name: string;
  readonly missing: ReadonlySet<HashPart>;
  readonly upstream: ReadonlySet<HashPart>;
}

/** Only what the cache lacks is looked for upstream, and only where upstreams are declared. */
async function askCache(
  { cache, config }: OpenedCache,
  hashes: ReadonlySet<HashPart>,
  { env, signal, notify }: PrepareRequest,
): Promise<Answer> {
  const missing = await cache.missing(hashes, signal);
  const upstream = await availableUpstream(missing, config.upstreams ?? [], {
    env,
    signal,
    onRetry: retryNotice(cache.name, notify),
  });
  return { name: cache.name, missing, upstream };
}
