import { askUpstreams, type UpstreamAnswer } from "../cache/upstream.ts";
import type { CacheConfig } from "../config/config.ts";
import { NIXOS_CACHE } from "../nix/nixos-cache.ts";
import { hashPartOf, type StorePath } from "../nix/store-path.ts";
import { orAborted } from "../or-aborted.ts";
import { askAbout, type PlainAnswer } from "../run/ask-cache.ts";
import { assertSome } from "../run/assert-some.ts";
import { type OpenOptions, openConfigured, retryNotice } from "../run/open-caches.ts";
import { readerUpstreams } from "../run/upstreams.ts";

export interface AskCachesOptions extends OpenOptions {
  readonly signal: AbortSignal;
}

/** What caches and upstreams have, as far as they answered. */
export interface CachesAnswer {
  /** The paths that none of them serves. */
  readonly lacking: ReadonlySet<StorePath>;
  /** Why caches gave no answer. */
  readonly failures: readonly unknown[];
  readonly warnings: readonly string[];
}

/** The upstreams that readers of these caches have; without a cache those of every Nix. */
export function upstreamsOf(caches: readonly CacheConfig[]): ReadonlySet<string> {
  if (caches.length === 0) return new Set([NIXOS_CACHE]);
  return new Set(caches.flatMap(readerUpstreams));
}

/**
 * Asks all caches and their upstreams, or without a cache that of NixOS, which of `paths` they serve. They learn the
 * hashes and no names.
 *
 * @throws {AggregateError} If there are caches, and every one of them fails.
 * @throws The reason `signal` was aborted with.
 */
export async function askCaches(
  paths: ReadonlySet<StorePath>,
  caches: readonly CacheConfig[],
  options: AskCachesOptions,
): Promise<CachesAnswer> {
  if (caches.length === 0) return await askNixos(paths, options);
  const lacking = new Set(paths);
  const failures: unknown[] = [];
  const warnings = new Set<string>();
  const ask = async (config: CacheConfig): Promise<void> => {
    try {
      const opened = await orAborted(openConfigured(config, options), options.signal);
      await using _cache = opened.cache;
      const answer = await askAbout({ paths }, opened, options);
      for (const path of paths) if (isServed(path, answer)) lacking.delete(path);
      for (const text of [...opened.credentials.warnings, ...warningsOf(answer.upstreams)])
        warnings.add(text);
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(caches.map(ask));
  assertSome(failures, { all: caches.length, signal: options.signal });
  return { lacking, failures, warnings: [...warnings] };
}

async function askNixos(
  paths: ReadonlySet<StorePath>,
  { env, signal, notify }: AskCachesOptions,
): Promise<CachesAnswer> {
  const onRetry = retryNotice("cache.nixos.org", notify);
  const answer = await askUpstreams(paths, [NIXOS_CACHE], { env, signal, onRetry });
  const lacking = [...paths].filter((path) => !answer.available.has(hashPartOf(path)));
  return { lacking: new Set(lacking), failures: [], warnings: warningsOf(answer) };
}

function isServed(path: StorePath, { missing, upstreams }: PlainAnswer): boolean {
  const hash = hashPartOf(path);
  return !missing.has(hash) || upstreams.available.has(hash);
}

function warningsOf({ warnings, failures }: UpstreamAnswer): string[] {
  const silent = failures.map(
    ({ message, code }) => `${message} [${code}]; what it may have counts as not served`,
  );
  return [...warnings, ...silent];
}
