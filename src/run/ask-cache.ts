import type { Closeness } from "../cache/contract.ts";
import { askUpstreams, type UpstreamAnswer } from "../cache/upstream.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { type HashPart, hashPartOf, type StorePath } from "../nix/store-path.ts";
import { type PlanCache, queryPaths } from "../plan/make-plan.ts";
import type { Members } from "./gather.ts";
import { type OpenedCache, type OpenOptions, retryNotice } from "./open-caches.ts";
import { askedUpstreams } from "./upstreams.ts";
import { withMissingToken } from "./with-missing-token.ts";

/** The answers about the paths that one cache is to get. */
export interface CacheAnswer extends PlanCache {
  /** About upstreams. */
  readonly warnings: readonly string[];
}

export interface AskOptions extends OpenOptions {
  readonly signal: AbortSignal;
  /** Paths that an upstream had when it last answered: taken as there where one does not. */
  readonly remembered?: ReadonlySet<StorePath>;
  /** True to push what an upstream may have that does not answer. @default {false} */
  readonly assumeMissing?: boolean;
  /** How closely the cache looks at paths that it has. @default {"narinfo"} */
  readonly closeness?: Closeness;
  /** Paths that readers do not get from a cache, by its name: they are missing, whatever the cache says. */
  readonly unread?: ReadonlyMap<string, ReadonlySet<StorePath>>;
}

/**
 * Asks a cache which paths it lacks, and the upstreams of its settings for those.
 *
 * @param members The picks that go to this cache: it learns of no others.
 */
export async function askCache(
  opened: OpenedCache,
  { planned, infos }: Members,
  options: AskOptions,
): Promise<CacheAnswer> {
  const paths = queryPaths({ closed: planned, infos });
  const { missing, upstreams } = await askAbout({ paths, infos }, opened, options);
  return { name: opened.cache.name, missing, ...countUpstreams(upstreams, options) };
}

/** The answers of a cache and of its upstreams, as they gave them. */
export interface PlainAnswer {
  readonly missing: ReadonlySet<HashPart>;
  /** About what the cache lacks. */
  readonly upstreams: UpstreamAnswer;
}

/** Paths, and what the store says of them: a cache that says something else is damaged. */
export interface Asked {
  readonly paths: ReadonlySet<StorePath>;
  readonly infos?: ReadonlyMap<StorePath, PathInfo>;
}

/** Asks a cache which of `paths` it lacks, and the upstreams of its settings for those. */
export async function askAbout(
  { paths, infos = new Map() }: Asked,
  opened: OpenedCache,
  options: Omit<AskOptions, "remembered" | "assumeMissing">,
): Promise<PlainAnswer> {
  const { cache, config } = opened;
  const { env, signal, notify, closeness = "narinfo" } = options;
  const records = new Map([...infos].map(([path, info]) => [hashPartOf(path), info]));
  const unreadPaths = options.unread?.get(config.name)?.intersection(paths) ?? new Set();
  const unread = new Set([...unreadPaths].map(hashPartOf));
  const found = await withMissingToken(opened, () =>
    cache.missing(new Set([...paths].map(hashPartOf)), signal, { closeness, records, unread }),
  );
  const missing = found.union(unread);
  const lacked = [...paths].filter((path) => missing.has(hashPartOf(path)));
  const urls = askedUpstreams(config);
  const onRetry = retryNotice(cache.name, notify);
  return { missing, upstreams: await askUpstreams(lacked, urls, { env, signal, onRetry }) };
}

/** Decides what counts as there and what stays open where upstreams did not answer. */
function countUpstreams(
  { available, unknown, failures, warnings }: UpstreamAnswer,
  { remembered = new Set(), assumeMissing = false }: AskOptions,
): Omit<CacheAnswer, "name" | "missing"> {
  const known = new Set([...remembered].map(hashPartOf)).intersection(unknown);
  const assumed = assumeMissing ? [] : [...known].map((hash) => [hash, undefined] as const);
  const fate = assumeMissing
    ? "paths that it may have are pushed"
    : "paths not built here are held until it answers (push --assume-missing pushes them)";
  return {
    upstream: new Map([...assumed, ...available]),
    unknown: assumeMissing ? new Set<HashPart>() : unknown.difference(known),
    warnings: [
      ...warnings,
      ...failures.map(({ message, code }) => `${message} [${code}]; ${fate}`),
    ],
  };
}
