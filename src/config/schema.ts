import * as v from "valibot";

import { isCacheName } from "../cache/cache-url.ts";
import { quote } from "../nix/format-error.ts";
import { nearest } from "../nix/nearest.ts";
import { CACHE_KEYS, cacheSchema, type CacheTable, strayTableKey } from "./cache-table.ts";
import { flag, folder, glob, listOf, oneOf, size, text, typeRule } from "./schema-values.ts";

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

/** Checks the value that a TOML parser returned against the schema of `handpick.toml`. */
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

function strayKey({ caches }: ConfigTables): Violation | undefined {
  for (const [name, table] of Object.entries(caches)) {
    const stray = strayTableKey(table);
    if (stray !== undefined) return { keys: ["caches", name, stray.key], rule: stray.rule };
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
  const tables = new Map([
    ["caches", CACHE_KEYS],
    ["rules", Object.keys(rulesEntries)],
    ["builds", Object.keys(buildsEntries)],
    ["projects", Object.keys(projectsEntries)],
  ]);
  const known = keys.length === 1 ? [...tables.keys()] : (tables.get(String(parent)) ?? []);
  return `is not a key that handpick knows${didYouMean(key, known)}`;
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

const cacheName = text((value) => {
  // JavaScript moves such keys to the front of a table, and the first cache is the default one.
  if (/^\d+$/.test(value)) return "must not be a number only";
  return isCacheName(value) ? undefined : "must be 1 to 64 of A-Z a-z 0-9 . _ -";
});

const rulesEntries = {
  exclude: v.optional(listOf(glob), []),
  "max-nar-size": v.optional(size),
  "on-hole": v.optional(oneOf("hold", "fail", "push-anyway"), "hold"),
};

const buildsEntries = {
  include: v.optional(listOf(glob), []),
  caches: v.optional(listOf(text(() => undefined)), []),
  manifests: v.optional(flag, false),
};

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
