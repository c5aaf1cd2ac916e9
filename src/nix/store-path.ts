import { FormatError, quote } from "./format-error.ts";

declare const storePathBrand: unique symbol;
declare const hashPartBrand: unique symbol;

/** A full store path such as `/nix/store/<hash>-<name>`, with nothing after the name. */
export type StorePath = string & { readonly [storePathBrand]: true };

/** The 32 characters of Nix base-32 at the front of a store path's base name. */
export type HashPart = string & { readonly [hashPartBrand]: true };

/** Where store paths live unless told otherwise. */
export const DEFAULT_STORE_DIR = "/nix/store";

const HASH_LENGTH = 32;
const HASH_PART = /^[0-9a-df-np-sv-z]{32}$/;
const BASE_NAME = /^[0-9a-df-np-sv-z]{32}-[0-9A-Za-z+._?=-]{1,211}$/;
/** Nix accepts a leading dot since 2.18.3 except in `.`, `..` and names beginning `.-` or `..-`. */
const REFUSED_NAME = /^\.\.?(?:-|$)/;

/**
 * Reads a full store path.
 *
 * @param storeDir The folder the path has to be a direct child of, without trailing slash.
 * @throws {FormatError} If `text` is not a direct child of `storeDir` with a valid hash and name.
 */
export function parseStorePath(text: string, storeDir: string = DEFAULT_STORE_DIR): StorePath {
  if (!text.startsWith(`${storeDir}/`)) {
    throw new FormatError("store-path", `Store path ${quote(text)} is not in ${quote(storeDir)}`);
  }
  return fromBaseName(text.slice(storeDir.length + 1), storeDir);
}

/**
 * Makes the store path with this base name (`<hash>-<name>`), the form narinfo files use.
 *
 * @throws {FormatError} If the base name is not that of a store path.
 */
export function fromBaseName(baseName: string, storeDir: string = DEFAULT_STORE_DIR): StorePath {
  if (!BASE_NAME.test(baseName) || REFUSED_NAME.test(baseName.slice(HASH_LENGTH + 1))) {
    throw new FormatError("store-path", `${quote(baseName)} is not the base name of a store path`);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- brands what was just checked
  return `${storeDir}/${baseName}` as StorePath;
}

/** Tells whether `text` is a store path in `storeDir`. */
export function isStorePath(text: string, storeDir: string = DEFAULT_STORE_DIR): text is StorePath {
  if (!text.startsWith(`${storeDir}/`)) return false;
  const baseName = text.slice(storeDir.length + 1);
  return BASE_NAME.test(baseName) && !REFUSED_NAME.test(baseName.slice(HASH_LENGTH + 1));
}

/**
 * Reads a hash part as used in narinfo file names and missing-paths queries.
 *
 * @throws {FormatError} If `text` is not 32 characters of Nix base-32.
 */
export function parseHashPart(text: string): HashPart {
  if (!HASH_PART.test(text)) {
    throw new FormatError("store-path", `${quote(text)} is not the hash part of a store path`);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- brands what was just checked
  return text as HashPart;
}

/** The base name, `<hash>-<name>`. */
export function baseNameOf(path: StorePath): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The folder the path lies in, `/nix/store` as a rule. */
export function storeDirOf(path: StorePath): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** The hash part, by which caches find a path. */
export function hashPartOf(path: StorePath): HashPart {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a StorePath begins with one
  return baseNameOf(path).slice(0, HASH_LENGTH) as HashPart;
}

/** The name part, what follows the hash and its dash. */
export function nameOf(path: StorePath): string {
  return baseNameOf(path).slice(HASH_LENGTH + 1);
}

/** Returns true if the path is a derivation (`.drv`) by its name. */
export function isDerivation(path: StorePath): boolean {
  return path.endsWith(".drv");
}

/** Orders store paths as Nix does in narinfos and fingerprints: by bytes, which are ASCII. */
export function compareStorePaths(a: StorePath, b: StorePath): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
