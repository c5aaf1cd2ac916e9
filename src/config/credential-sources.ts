import { isAbsolute, join } from "node:path";

import { isCacheName } from "../cache/cache-url.ts";
import type { CacheKind } from "../cache/kind.ts";
import { quote } from "../nix/format-error.ts";
import type { CacheConfig } from "./config.ts";
import { readSecretFile, type SecretFile } from "./secret-file.ts";

/** A text that is a credential or has one in it, and the place where it was found. */
export interface Found {
  readonly text: string;
  /** For people, such as `file /run/secrets/cachix`. */
  readonly source: string;
}

export interface FoundFile extends Found {
  readonly path: string;
}

/** A file with a credential in it, and the content in words, such as `token`. */
export interface CredentialFile {
  readonly path: string;
  readonly content: string;
}

/** The cache that credentials are searched for, and where. */
export interface Search {
  readonly cache: CacheConfig;
  /** Undefined if no kind has the URL: only what the settings of the cache name counts then. */
  readonly kind: CacheKind | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** Numeric user, for hints; undefined where the platform has none. */
  readonly uid: number | undefined;
  /** Collects sentences without a full stop. */
  readonly warnings: string[];
}

/** Takes a variable that is set; an empty one counts as not set, with a warning. */
export function fromVariable(
  { env, warnings }: Search,
  name: string | undefined,
): Found | undefined {
  const text = name === undefined ? undefined : env[name]?.trim();
  if (text) return { text, source: `variable ${name}` };
  if (text === "") warnings.push(`variable ${name} is empty and counts as not set`);
  return undefined;
}

/**
 * Reads a file that systemd puts into a folder for a unit, by `LoadCredential=ID:…`. It goes before all
 * other sources: the unit names it on purpose, and its user may have no access to the file it comes from.
 */
export async function fromSystemd(
  search: Search,
  { id, content }: { readonly id: string; readonly content: string },
): Promise<FoundFile | undefined> {
  const { name, foundFile } = search.cache;
  // A cache that has only a URL has no name that a unit could have meant, and one of a found file any name.
  if (!isCacheName(name) || foundFile !== undefined) return undefined;
  const folder = search.env["CREDENTIALS_DIRECTORY"] ?? "";
  if (!isAbsolute(folder)) return undefined;
  const path = join(folder, id);
  const text = (await readSecretFile(secretFile(search, { path, content })))?.trim();
  if (text) return { text, path, source: `file ${path}` };
  if (text === "") search.warnings.push(`file ${path} is empty and counts as absent`);
  return undefined;
}

/** Describes a file for `readSecretFile`, and for errors about it. */
export function secretFile(
  { cache, uid, env, warnings }: Search,
  { path, content }: CredentialFile,
): SecretFile {
  const { name, foundFile } = cache;
  return { path, content: `the ${content} of cache ${quote(name)}`, uid, env, foundFile, warnings };
}
