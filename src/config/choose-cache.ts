import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { nearest } from "../nix/nearest.ts";
import { cacheUrlFault, nameFromUrl } from "./cache-url.ts";
import type { CacheConfig, Config } from "./config.ts";

/**
 * The cache a command talks to: the configured one named `to`, the one at the URL `to` (with its
 * configured settings, if it has any), or without `to` the first of the configuration.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` if there is none of that name, or none at all;
 *   `CACHE_URL_UNSUPPORTED` if `to` is not a proper URL.
 */
export function chooseCache({ caches }: Config, to?: string): CacheConfig {
  if (to === undefined) return caches[0] ?? throwNoCache();
  const configured = caches.find(({ name, url }) => name === to || url === to);
  if (configured !== undefined) return configured;
  if (to.includes("://")) return cacheAt(to);
  const names = caches.map(({ name }) => name);
  const best = nearest(to, names);
  const hint =
    best === undefined
      ? `Name one of ${names.join(", ") || "[caches] in handpick.toml"}, or a URL such as cachix://NAME.`
      : `Did you mean ${quote(best)}?`;
  throw new HandpickError("CACHE_UNKNOWN", `Cannot find cache ${quote(to)} in the configuration`, {
    hint,
  });
}

function throwNoCache(): never {
  throw new HandpickError("CACHE_UNKNOWN", "Cannot choose a cache: none is configured", {
    hint: "Pass --to cachix://NAME, or add [caches.NAME] to handpick.toml.",
  });
}

function cacheAt(url: string): CacheConfig {
  const fault = cacheUrlFault(url);
  if (fault !== undefined) {
    // The URL is left out: what is wrong with it may be the password in it.
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot use the URL of the cache: it ${fault}`,
      {
        hint: "Pass a URL such as cachix://NAME; tokens come from files or the environment.",
      },
    );
  }
  return {
    name: nameFromUrl(url),
    url,
    host: undefined,
    tokenFile: undefined,
    tokenEnv: undefined,
    dhallFile: undefined,
    signingKeyFile: undefined,
    upstreams: undefined,
    compression: undefined,
    compressionLevel: undefined,
  };
}
