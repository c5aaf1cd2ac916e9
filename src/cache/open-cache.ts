import { HandpickError } from "../error.ts";
import { createCachixCache } from "./cachix/cachix-cache.ts";
import type { CachixCacheOptions } from "./cachix/cachix-cache.ts";
import { parseCachixUrl } from "./cachix/cachix-url.ts";
import type { Cache } from "./contract.ts";

export interface OpenCacheOptions extends Omit<CachixCacheOptions, "cacheName"> {
  /** As in the configuration; its scheme chooses the backend. */
  readonly url: string;
}

/**
 * Opens the cache behind a URL. Nothing is sent yet.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if there is no backend for the URL.
 */
export function openCache({ url, ...options }: OpenCacheOptions): Cache {
  if (url.startsWith("cachix:")) {
    return createCachixCache({ ...options, cacheName: parseCachixUrl(url) });
  }
  const scheme = /^[a-z][a-z0-9+.-]{0,15}:/i.exec(url)?.[0] ?? "no scheme";
  throw new HandpickError(
    "CACHE_URL_UNSUPPORTED",
    `Cannot open cache ${JSON.stringify(options.name)}: expected a URL of cachix://, received ${scheme}`,
    { hint: "This version pushes to cachix://NAME only." },
  );
}
