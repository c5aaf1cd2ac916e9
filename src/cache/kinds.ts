import { cachixKind } from "./cachix/cachix-kind.ts";
import { fileKind } from "./file/file-kind.ts";
import { httpKind, httpsKind } from "./http/http-kind.ts";
import type { CacheKind } from "./kind.ts";

/** Every kind of cache that this version pushes to; a new one is its folder and a row here. */
export const KINDS: readonly CacheKind[] = [cachixKind, fileKind, httpsKind, httpKind];

/** Returns the kind of a cache by the scheme of its URL; undefined for a scheme of no kind. */
export function kindOf(url: string): CacheKind | undefined {
  return KINDS.find(({ scheme }) => url.startsWith(`${scheme}://`));
}

/** Says which URLs there are, such as `cachix://NAME or file:///DIR`. */
export function urlForms(): string {
  return [...new Set(KINDS.map(({ form }) => form))].join(" or ");
}
