import { cacheNames, wantedCache } from "../config/choose-cache.ts";
import type { CacheConfig, Config } from "../config/config.ts";
import { readCredentials } from "../config/credentials.ts";
import { HandpickError } from "../error.ts";
import type { Pick } from "../nix/manifest.ts";
import { lacksToken, type OpenOptions } from "./open-caches.ts";

/** The user whose credentials count. */
type Credentialed = Omit<OpenOptions, "notify">;

export interface IdleOptions extends Credentialed {
  readonly config: Config;
}

/** The caches that picks go to, without those that have nothing to do. */
export interface PickRoutes {
  readonly namesOf: (pick: Pick) => string[];
  /** Names of optional caches that this machine has no token for. */
  readonly idle: ReadonlySet<string>;
}

/**
 * Finds the caches that picks go to. An optional cache without a token is asked nothing, and only
 * `status` tells of it; so is any cache without one, or without a table, that only an optional pick names.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` if a pick names no cache and none is configured.
 */
export async function routePicks(
  picks: readonly Pick[],
  options: IdleOptions,
): Promise<PickRoutes> {
  const { config } = options;
  const configured = await idleCaches(config.caches, options);
  let idle = configured;
  const routes = new Map<Pick, string[]>();
  for (const pick of picks) {
    const isNowhere = pick.caches === undefined && config.caches.length === 0;
    const names = pick.isOptional === true && isNowhere ? [] : cacheNames(pick.caches, config);
    const left = pick.isOptional === true ? await idleNames(names, options) : configured;
    idle = idle.union(left);
    routes.set(
      pick,
      names.filter((name) => !left.has(name)),
    );
  }
  return { namesOf: (pick) => routes.get(pick) ?? [], idle };
}

/** Finds the names of caches without a table or a token, as if all of them were optional. */
export async function idleNames(
  names: Iterable<string>,
  options: IdleOptions,
): Promise<ReadonlySet<string>> {
  const idle = new Set<string>();
  for (const name of names) {
    try {
      const cache = { ...wantedCache(options.config, name), optional: true };
      for (const found of await idleCaches([cache], options)) idle.add(found);
    } catch (error) {
      if (!(error instanceof HandpickError)) throw error;
      idle.add(name);
    }
  }
  return idle;
}

/**
 * Finds the optional ones of some caches that this machine has no token for. One whose token cannot be
 * read is not among them; opening it says why.
 */
export async function idleCaches(
  caches: Iterable<CacheConfig>,
  { env, uid }: Credentialed,
): Promise<ReadonlySet<string>> {
  const idle = new Set<string>();
  for (const cache of caches) {
    if (!cache.optional) continue;
    try {
      const credentials = await readCredentials(cache, { env, uid });
      if (lacksToken(cache, credentials)) idle.add(cache.name);
    } catch (error) {
      if (!(error instanceof HandpickError)) throw error;
    }
  }
  return idle;
}
