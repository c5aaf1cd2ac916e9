import type { Compression } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { COMPANION_KEYS } from "../cache/binary-cache.ts";
import type { CompanionKey } from "../cache/kind.ts";
import { canonicalUrl } from "../cache/cache-url.ts";
import { parseToml } from "../toml.ts";
import { type FileNameOptions, resolveFileName } from "./file-name.ts";
import type { CacheTable, Sign } from "./cache-table.ts";
import { checkTables, type Violation } from "./schema.ts";
import { findTomlColumn, findTomlLine } from "./toml-line.ts";

/**
 * A cache, told apart from all others. It is made once, where a name or a URL is read: by `parseConfig`
 * for the tables of a configuration, by `chooseCache` for a URL that has none.
 */
export interface CacheRef {
  /**
   * The name of its table; the URL itself where it has none. No table may have the name of a URL, so
   * this identifies the cache in plans, in reports and in the ledger.
   */
  readonly name: string;
  /** In one spelling, as `canonicalUrl` gives it. */
  readonly url: string;
}

export type { Sign } from "./cache-table.ts";

/** One `[caches.NAME]` table. File names are absolute. */
export interface CacheConfig extends CacheRef {
  /** Base URL of another server than the default one, http or https. */
  readonly host: string | undefined;
  readonly tokenFile: string | undefined;
  /** Name of the environment variable that holds the token. */
  readonly tokenEnv: string | undefined;
  /** The configuration of the kind's client, a `cachix.dhall` or `netrc`, elsewhere than where the client has it. */
  readonly clientFile: string | undefined;
  readonly signingKeyFile: string | undefined;
  readonly sign: Sign;
  /** Undefined if the file does not say: it goes by the kind then. */
  readonly upstreams: readonly string[] | undefined;
  readonly compression: Compression | undefined;
  readonly compressionLevel: number | undefined;
  /** Where readers find the cache, if not at its URL. */
  readonly readUrl: string | undefined;
  /** `name:base64` each: the keys that readers trust, for a cache that does not name them. */
  readonly publicKeys: readonly string[] | undefined;
  /** True if everybody may read it, for a cache that does not say. */
  readonly isPublic: boolean | undefined;
  /** Without a credential it is asked nothing, and only `status` tells of it. */
  readonly optional: boolean;
  /** The small files that readers get with each path; none by default. */
  readonly companions: ReadonlySet<CompanionKey>;
  /** The `handpick.toml` that has the table, if that was found and not named: docs/trust.md. */
  readonly foundFile: string | undefined;
}

/** The `[rules]` table. */
export interface Rules {
  /** Globs on the name part, or on full store paths if they start with a slash. */
  readonly exclude: readonly string[];
  /** Bytes. */
  readonly maxNarSize: number | undefined;
  readonly onHole: "hold" | "fail" | "push-anyway";
}

/** The `[builds]` table: what post-build-hook, watch and exec may push, and where to. */
export interface Builds {
  readonly include: readonly string[];
  readonly caches: readonly string[];
  /** True if manifests among what is built count; without it they are outputs like others. */
  readonly manifests: boolean;
}

/** Where a configuration was looked for. */
export interface ConfigSearch {
  /** The purpose: paths on the command line, or the selections of this machine. */
  readonly serves: "arguments" | "wanted";
  /** The files looked for, in this order. */
  readonly looked: readonly string[];
  /** The project's file, if it is there and may not serve this. */
  readonly skipped: string | undefined;
}

export interface Config {
  /** Where it was read; undefined if there is no file. */
  readonly file: string | undefined;
  /** True if that file was found in the working folder and not named: it may be anybody's. */
  readonly isFound: boolean;
  /** Undefined if the file was named. */
  readonly search: ConfigSearch | undefined;
  /** Folders whose `handpick.toml` counts as named. */
  readonly trustedProjects: readonly string[];
  /** In the order of the file. */
  readonly caches: readonly CacheConfig[];
  readonly rules: Rules;
  readonly builds: Builds;
}

/**
 * Reads the text of `handpick.toml`.
 *
 * @param file Its absolute name, for messages and for what relative names in it start from.
 * @param env For names of files with variables in them. @default {process.env}
 * @throws {HandpickError} `CONFIG_INVALID` with line, column and key if it is not TOML or breaks a rule.
 */
export function parseConfig(
  text: string,
  file: string,
  env: NodeJS.ProcessEnv = process.env,
): Config {
  const hint = "Correct the TOML of this file; handpick --help shows an example.";
  const tables = checkTables(parseToml(text, { about: `configuration ${file}`, hint }));
  if ("rule" in tables) throw violationError(tables, { text, file });
  const { caches, rules, builds, projects } = tables;
  return {
    file,
    isFound: false,
    search: undefined,
    trustedProjects: projects.trusted.map((folder) => resolveFileName(folder, { file, env })),
    caches: Object.entries(caches).map(([name, table]) => toCache(name, table, { file, env })),
    rules: {
      exclude: rules.exclude,
      maxNarSize: rules["max-nar-size"],
      onHole: rules["on-hole"],
    },
    builds,
  };
}

function violationError(
  { keys, rule }: Violation,
  { text, file }: { readonly text: string; readonly file: string },
): HandpickError {
  const names = keys.filter((key) => typeof key === "string");
  const line = findTomlLine(text, names);
  const place =
    line === undefined ? file : `${file}:${line}:${findTomlColumn(text, line, names.at(-1) ?? "")}`;
  const message = `Cannot use configuration ${place}: ${showKeys(keys)} ${rule}`;
  return new HandpickError("CONFIG_INVALID", message, {
    hint: "Correct this file; handpick --help shows an example.",
  });
}

function showKeys(keys: Violation["keys"]): string {
  const shown = keys.map((key) => {
    if (typeof key === "number") return `[${key}]`;
    return `.${/^[\w-]{1,64}$/.test(key) ? key : quote(key)}`;
  });
  return shown.join("").replace(/^\./, "");
}

function toCache(name: string, table: CacheTable, options: FileNameOptions): CacheConfig {
  const absolute = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : resolveFileName(path, options);
  return {
    name,
    url: canonicalUrl(table.url),
    host: table.host,
    tokenFile: absolute(table["token-file"]),
    tokenEnv: table["token-env"],
    clientFile: absolute(table["dhall-file"] ?? table["netrc-file"]),
    signingKeyFile: absolute(table["signing-key-file"]),
    sign: table.sign,
    upstreams: table.upstreams,
    compression: table.compression,
    compressionLevel: table["compression-level"],
    readUrl: table["read-url"]?.replace(/\/+$/, ""),
    publicKeys: table["public-keys"],
    isPublic: table.public,
    optional: table.optional,
    companions: new Set(COMPANION_KEYS.filter((key) => table[key] === true)),
    foundFile: undefined,
  };
}
