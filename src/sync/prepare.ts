import type { CacheInfo } from "../cache/contract.ts";
import { availableUpstream } from "../cache/upstream.ts";
import type { Config } from "../config/config.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { Pick } from "../nix/manifest.ts";
import type { HashPart, StorePath } from "../nix/store-path.ts";
import { makePlan, queryHashes } from "../plan/make-plan.ts";
import type { Plan } from "../plan/plan.ts";
import { closePicks } from "../select/closure.ts";
import { selectPicks } from "../select/select.ts";
import type { Store } from "../store/store.ts";
import { cachesFor, openConfigured } from "./open-caches.ts";
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
  /** Looks at each cache before paths are compared; throws to stop. */
  readonly inspect?: (cache: OpenedCache, info: CacheInfo) => void;
}

export interface PreparedCache extends OpenedCache {
  readonly info: CacheInfo;
}

/** Everything decided and nothing sent. Dispose to let go of store and caches. */
export interface Prepared extends AsyncDisposable {
  readonly picks: readonly Pick[];
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
  await using stack = new AsyncDisposableStack();
  const { config, store, signal } = request;
  const { picks } = await selectPicks(request.inputs, request);
  stack.use(await store.hold(new Set(picks.flatMap((pick) => pick.paths))));
  const opened = await Promise.all(
    cachesFor(picks, config, request.to).map((cache) => openConfigured(cache, request)),
  );
  for (const { cache } of opened) stack.use(cache);
  const caches = opened.map(async (one) => {
    const info = await one.cache.info(signal);
    request.inspect?.(one, info);
    return { ...one, info };
  });
  const [prepared, closed] = await Promise.all([Promise.all(caches), closePicks(picks, store)]);
  const targets = request.to === undefined ? undefined : prepared.map(({ cache }) => cache.name);
  const planned = closed.picks.map(({ pick, members }) => ({
    name: pick.name,
    members,
    caches: targets ?? pick.caches ?? prepared.slice(0, 1).map(({ cache }) => cache.name),
    exclude: pick.exclude,
  }));
  const input = { closed: planned, infos: closed.infos, rules: config.rules };
  const hashes = queryHashes(input);
  const answers = await Promise.all(prepared.map((one) => askCache(one, hashes, request)));
  const kept = stack.move();
  return {
    picks,
    caches: prepared,
    infos: closed.infos,
    plan: makePlan({ ...input, caches: answers }),
    warnings: opened.flatMap(({ credentials }) => credentials.warnings),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface Answer {
  readonly name: string;
  readonly missing: ReadonlySet<HashPart>;
  readonly upstream: ReadonlySet<HashPart>;
}

/** Only what the cache lacks is looked for upstream, and only where upstreams are declared. */
async function askCache(
  { cache, config }: PreparedCache,
  hashes: ReadonlySet<HashPart>,
  { env, signal }: PrepareRequest,
): Promise<Answer> {
  const missing = await cache.missing(hashes, signal);
  const upstream = await availableUpstream(missing, config.upstreams ?? [], { env, signal });
  return { name: cache.name, missing, upstream };
}
