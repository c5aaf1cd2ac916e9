import * as v from "valibot";

import { COMPANION_KEYS } from "../cache/binary-cache.ts";
import { cacheUrlFault } from "../cache/cache-url.ts";
import type { Compression } from "../cache/contract.ts";
import { type KindKey, READER_KEYS } from "../cache/kind.ts";
import { kindOf } from "../cache/kinds.ts";
import {
  fileName,
  flag,
  listOf,
  oneOf,
  publicKey,
  text,
  typeRule,
  variable,
  webUrl,
} from "./schema-values.ts";

/** The signatures that a narinfo gets: those of the store and ours, ours only, or those of the store only. */
export type Sign = "all" | "own" | "none";

/** `[caches.NAME]` as it stands in the file. */
export interface CacheTable {
  readonly url: string;
  readonly host?: string | undefined;
  readonly "token-file"?: string | undefined;
  readonly "token-env"?: string | undefined;
  readonly "dhall-file"?: string | undefined;
  readonly "netrc-file"?: string | undefined;
  readonly "signing-key-file"?: string | undefined;
  readonly sign: Sign;
  readonly upstreams?: readonly string[] | undefined;
  readonly compression?: Compression | undefined;
  readonly "compression-level"?: number | undefined;
  readonly "read-url"?: string | undefined;
  readonly "public-keys"?: readonly string[] | undefined;
  readonly public?: boolean | undefined;
  readonly optional: boolean;
  readonly listings?: boolean | undefined;
  readonly "build-logs"?: boolean | undefined;
  readonly realisations?: boolean | undefined;
}

const cacheEntries = {
  url: text(cacheUrlFault),
  host: v.optional(webUrl),
  "token-file": v.optional(fileName),
  "token-env": v.optional(variable),
  "dhall-file": v.optional(fileName),
  "netrc-file": v.optional(fileName),
  "signing-key-file": v.optional(fileName),
  sign: v.optional(oneOf("all", "own", "none"), "all"),
  upstreams: v.optional(listOf(webUrl)),
  compression: v.optional(oneOf("zstd", "xz", "none")),
  "compression-level": v.optional(v.number(typeRule("a number"))),
  "read-url": v.optional(webUrl),
  "public-keys": v.optional(listOf(publicKey)),
  public: v.optional(flag),
  optional: v.optional(flag, false),
  listings: v.optional(flag),
  "build-logs": v.optional(flag),
  realisations: v.optional(flag),
};

/** The schema of one table; {@link strayTableKey} knows the keys of each kind. */
export const cacheSchema: v.GenericSchema<unknown, CacheTable> = v.pipe(
  v.strictObject(cacheEntries, typeRule("a table")),
  v.forward(
    v.check(
      (cache) => levelFault(cache) === undefined,
      ({ input }) => levelFault(input) ?? "",
    ),
    ["compression-level"],
  ),
);

export const CACHE_KEYS: readonly string[] = Object.keys(cacheEntries);

const LEVELS = { zstd: [1, 19], xz: [0, 9] } as const;

function levelFault(cache: CacheTable): string | undefined {
  const level = cache["compression-level"];
  if (level === undefined) return undefined;
  if (cache.compression === "none") return 'has no meaning with compression = "none"';
  const method = cache.compression ?? "zstd";
  const [least, most] = LEVELS[method];
  const fits = Number.isInteger(level) && level >= least && level <= most;
  return fits ? undefined : `must be ${least} to ${most} for ${method}, found ${level}`;
}

const KIND_KEYS: readonly KindKey[] = [
  "host",
  "token-file",
  "token-env",
  "dhall-file",
  ...COMPANION_KEYS,
  "netrc-file",
  ...READER_KEYS,
];

/** Returns the key of a table that makes no sense for the kind of its cache, and the rule that it breaks. */
export function strayTableKey(
  table: CacheTable,
): { readonly key: string; readonly rule: string } | undefined {
  const kind = kindOf(table.url);
  if (kind === undefined) return undefined;
  if (kind.key === undefined && table["signing-key-file"] !== undefined) {
    const rule = `is no key for a cache of ${kind.scheme}://, which signs with its own`;
    return { key: "signing-key-file", rule };
  }
  const key = KIND_KEYS.find((key) => table[key] !== undefined && !kind.keys.has(key));
  return key && { key, rule: `is no key for a cache of ${kind.scheme}://` };
}
