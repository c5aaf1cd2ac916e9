import { kindOf } from "../cache/kinds.ts";
import type { CacheConfig } from "../config/config.ts";

type Upstreams = Pick<CacheConfig, "url" | "upstreams">;

/** The caches to ask for what a cache lacks: those that its table names, else those of its kind. */
export function askedUpstreams({ url, upstreams }: Upstreams): readonly string[] {
  return upstreams ?? kindOf(url)?.upstreams ?? [];
}

/** The caches that readers of a cache have besides: also those that it asks itself. */
export function readerUpstreams({ url, upstreams }: Upstreams): readonly string[] {
  return upstreams ?? [...askedUpstreams({ url, upstreams }), ...(kindOf(url)?.ownUpstreams ?? [])];
}
