import * as v from "valibot";
import type { Compression } from "../cache/contract.ts";
import { FormatError, quote } from "../nix/format-error.ts";
import { isGlob } from "../nix/glob.ts";
import { nearest } from "../nix/nearest.ts";
import { COMPANION_KEYS } from "../cache/binary-cache.ts";
import { cacheUrlFault, isCacheName } from "../cache/cache-url.ts";
import { type KindKey, READER_KEYS } from "../cache/kind.ts";
import { parsePublicKey } from "../nix/key.ts";
import { kindOf } from "../cache/kinds.ts";
import { serverUrlFault } from "../cache/server-url.ts";
import { parseSize } from "./size.ts";

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

/** The whole file, defaults filled in. */
export interface ConfigTables {
  readonly caches: Readonly<Record<string, CacheTable>>;
  readonly rules: {
    readonly exclude: readonly string[];
    /** Bytes. */
    readonly "max-nar-size"?: number | undefined;
    readonly "on-hole": "hold" | "fail" | "push-anyway";
  };
  readonly builds: {
    readonly include: readonly string[];
    readonly caches: readonly string[];
    readonly manifests: boolean;
  };
  readonly projects: { readonly trusted: readonly string[] };
}

/** A rule that the value at `keys` breaks, said so that it reads on after the key. */
export interface Violation {
  readonly keys: readonly (string | number)[];
  readonly rule: string;
}

/** Holds what a TOML parser returned against the schema of `handpick.toml`. */
export function checkTables(value: unknown): ConfigTables | Violation {
  const result = v.safeParse(fileSchema, value);
  if (result.success) return strayKey(result.output) ?? strayCache(result.output) ?? result.output;
  const issue = result.issues.find(isUnknownKey) ?? result.issues[0];
  const keys = (issue.path ?? []).map(({ key }) => (typeof key === "number" ? key : String(key)));
  if (isUnknownKey(issue)) return { keys, rule: unknownKeyRule(keys) };
  if (issue.type === "strict_object" && issue.expected !== "Object") {
    return { keys: keys.slice(0, -1), rule: `needs the key ${issue.expected}` };
  }
  return { keys, rule: issue.message };
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

/** A key that makes no sense for the kind of its cache. */
function strayKey({ caches }: ConfigTables): Violation | undefined {
  for (const [name, table] of Object.entries(caches)) {
    const kind = kindOf(table.url);
    const key = KIND_KEYS.find((key) => table[key] !== undefined && kind?.keys.has(key) === false);
    if (kind === undefined) continue;
    if (kind.key === undefined && table["signing-key-file"] !== undefined) {
      const rule = `is no key for a cache of ${kind.scheme}://, which signs with its own`;
      return { keys: ["caches", name, "signing-key-file"], rule };
    }
    if (key === undefined) continue;
    return { keys: ["caches", name, key], rule: `is no key for a cache of ${kind.scheme}://` };
  }
  return undefined;
}

function strayCache({ caches, builds }: ConfigTables): Violation | undefined {
  const names = Object.keys(caches);
  const index = builds.caches.findIndex((name) => !names.includes(name));
  const stray = builds.caches[index];
  if (stray === undefined) return undefined;
  const rule = `must name a cache of this file, found ${quote(stray)}${didYouMean(stray, names)}`;
  return { keys: ["builds", "caches", index], rule };
}

function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === "strict_object" && issue.expected === "never";
}

function unknownKeyRule(keys: Violation["keys"]): string {
  const key = String(keys.at(-1));
  const parent = keys[0];
  if (parent === "caches" && (key === "token" || key === "signing-key")) {
    return `is not allowed: secrets do not belong in this file, name a file in ${key}-file`;
  }
  if (keys.length === 1 && key === "events") return "is called builds now";
  const newer = keys.length === 1 ? NEWER_TABLES : NEWER_KEYS.get(String(parent));
  if (newer?.has(key) === true) return "is a key of a newer handpick than this one";
  const tables = {
    caches: cacheEntries,
    rules: rulesEntries,
    builds: buildsEntries,
    projects: projectsEntries,
  };
  const known =
    keys.length === 1 ? tables : Object.entries(tables).find(([t]) => t === parent)?.[1];
  return `is not a key that handpick knows${didYouMean(key, Object.keys(known ?? {}))}`;
}

/** Tables and keys that later versions take: a shared configuration may have them already. */
const NEWER_TABLES: ReadonlySet<string> = new Set(["guard", "unfree", "budget", "verify"]);
const NEWER_KEYS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["rules", new Set(["budget", "guard", "unfree"])],
]);

function didYouMean(word: string, candidates: readonly string[]): string {
  const best = nearest(word, candidates);
  return best === undefined ? "" : `; did you mean ${quote(best)}?`;
}

// The message of a schema is its rule. It repeats the value only where no careless hand could have
// put a token: never for file names, variables and URLs.

function text(fault: (value: string) => string | undefined): v.GenericSchema<string> {
  return v.pipe(
    v.string(typeRule("a string")),
    v.check(
      (value) => fault(value) === undefined,
      ({ input }) => fault(input) ?? "",
    ),
  );
}

function listOf(item: v.GenericSchema<string>): v.GenericSchema<string[]> {
  return v.array(item, typeRule("a list of strings"));
}

function oneOf<const T extends string>(...words: readonly T[]): v.GenericSchema<T> {
  const rule = `one of ${words.map((word) => `"${word}"`).join(", ")}`;
  return v.picklist(words, ({ input }) =>
    typeof input === "string"
      ? `must be ${rule}, found ${quote(input)}`
      : typeRule(rule)({ input }),
  );
}

function typeRule(expected: string): (issue: { readonly input: unknown }) => string {
  return ({ input }) => `must be ${expected}, found ${typeName(input)}`;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object") return "a table";
  if (Number.isNaN(value)) return "nan";
  return typeof value === "number" ? "a number" : `a ${typeof value}`;
}

const glob = text((value) =>
  isGlob(value)
    ? undefined
    : `must be a glob such as "*-source" or a full store path, found ${quote(value)}`,
);

const LIKE_A_TOKEN = /^ey[\w=-]+\.[\w=-]+\./;
const FILE_NAME = /^[^\p{Cc}]{1,4096}$/u;
const fileName = text((value) => {
  // A pasted token would stand in every later message that names the file.
  if (LIKE_A_TOKEN.test(value)) return "must be the name of a file, found what looks like a token";
  return FILE_NAME.test(value) ? undefined : "must be the name of a file";
});

const VARIABLE = /^[A-Za-z_]\w{0,127}$/;
const variable = text((value) =>
  VARIABLE.test(value) ? undefined : "must be the name of an environment variable",
);

const cacheUrl = text(cacheUrlFault);
const webUrl = text(serverUrlFault);
const cacheName = text((value) => {
  // JavaScript moves such keys to the front of a table, and the first cache is the default one.
  if (/^\d+$/.test(value)) return "must not be a number only";
  return isCacheName(value) ? undefined : "must be 1 to 64 of A-Z a-z 0-9 . _ -";
});

const size = v.pipe(
  v.unknown(),
  v.transform(parseSize),
  v.number('must be a size such as "2GiB", "500 MB" or 1048576'),
);

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

const publicKey = text((value) =>
  isPublicKey(value) ? undefined : "must be a public key, name:base64, as handpick keygen shows it",
);

function isPublicKey(value: string): boolean {
  try {
    return parsePublicKey(value).name !== undefined;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

const cacheEntries = {
  url: cacheUrl,
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
  public: v.optional(v.boolean(typeRule("true or false"))),
  optional: v.optional(v.boolean(typeRule("true or false")), false),
  listings: v.optional(v.boolean(typeRule("true or false"))),
  "build-logs": v.optional(v.boolean(typeRule("true or false"))),
  realisations: v.optional(v.boolean(typeRule("true or false"))),
};

const cacheSchema = v.pipe(
  v.strictObject(cacheEntries, typeRule("a table")),
  v.forward(
    v.check(
      (cache) => levelFault(cache) === undefined,
      ({ input }) => levelFault(input) ?? "",
    ),
    ["compression-level"],
  ),
);

const rulesEntries = {
  exclude: v.optional(listOf(glob), []),
  "max-nar-size": v.optional(size),
  "on-hole": v.optional(oneOf("hold", "fail", "push-anyway"), "hold"),
};

const buildsEntries = {
  include: v.optional(listOf(glob), []),
  caches: v.optional(listOf(text(() => undefined)), []),
  manifests: v.optional(v.boolean(typeRule("true or false")), false),
};

const folder = text((value) => {
  const isAbsolute = /^(?:\/|~\/|\$\{)/.test(value) && FILE_NAME.test(value);
  return isAbsolute ? undefined : "must be the full name of a folder, such as /home/me/project";
});

const projectsEntries = {
  trusted: v.optional(listOf(folder), []),
};

const fileSchema = v.strictObject(
  {
    caches: v.optional(v.record(cacheName, cacheSchema, typeRule("a table")), {}),
    rules: v.optional(v.strictObject(rulesEntries, typeRule("a table")), {}),
    builds: v.optional(v.strictObject(buildsEntries, typeRule("a table")), {}),
    projects: v.optional(v.strictObject(projectsEntries, typeRule("a table")), {}),
  },
  typeRule("a table"),
);
