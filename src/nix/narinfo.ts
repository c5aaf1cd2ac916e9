import { parseContentAddress } from "./content-address.ts";
import { FormatError, quote } from "./format-error.ts";
import { formatHash, parseHash, parseSha256, type Sha256 } from "./hash.ts";
import { parseSignature } from "./signature.ts";
import {
  baseNameOf,
  DEFAULT_STORE_DIR,
  fromBaseName,
  parseStorePath,
  type StorePath,
} from "./store-path.ts";

const COMPRESSIONS = [
  "none",
  "xz",
  "bzip2",
  "zstd",
  "gzip",
  "br",
  "lz4",
  "lzip",
  "lzma",
  "compress",
  "lzop",
  "lrzip",
  "grzip",
] as const;

/** Every method that Nix knows. */
export type NarCompression = (typeof COMPRESSIONS)[number];

/** The entry of one store path in a binary cache. */
export interface NarInfo {
  readonly storePath: StorePath;
  /** Relative to the cache's root, or absolute; no spaces or control characters. */
  readonly url: string;
  readonly compression: NarCompression;
  /** Of the compressed file. */
  readonly fileHash: Sha256 | undefined;
  readonly fileSize: number | undefined;
  readonly narHash: Sha256;
  /** Above 0. */
  readonly narSize: number;
  /** In byte order, each once. */
  readonly references: readonly StorePath[];
  readonly deriver: StorePath | undefined;
  readonly system: string | undefined;
  /** `name:base64` each, well-formed but not verified. */
  readonly signatures: readonly string[];
  /** Content address such as `fixed:r:sha256:…`. */
  readonly ca: string | undefined;
}

const LONGEST_TEXT = 2 ** 20;
const URL = /^[^\s\p{Cc}]{1,4096}$/u;
const SYSTEM = /^[^\s\p{Cc}]{1,255}$/u;
const DECIMAL = /^\d{1,16}$/;
const UNKNOWN_DERIVER = "unknown-deriver";
/** The keys that are read, in Nix's order of writing. Only `Sig` may stand more than once. */
const KEYS = [
  "StorePath",
  "URL",
  "Compression",
  "FileHash",
  "FileSize",
  "NarHash",
  "NarSize",
  "References",
  "Deriver",
  "System",
  "Sig",
  "CA",
] as const;

type Key = (typeof KEYS)[number];

/**
 * Reads a narinfo as strictly as the newest Nix does; keys that nobody knows are skipped.
 *
 * @throws {FormatError} If it is longer than 1 MiB, a line or value is malformed, a key that may
 *   stand once stands twice, or one that is required is missing.
 */
export function parseNarInfo(text: string, options: { readonly storeDir?: string } = {}): NarInfo {
  const { storeDir = DEFAULT_STORE_DIR } = options;
  const lines = readLines(text);
  const field = <T>(key: Key, parse: (value: string) => T): T | undefined =>
    parseAll(key, lines, parse)[0];
  return {
    storePath: required(
      "StorePath",
      field("StorePath", (path) => parseStorePath(path, storeDir)),
    ),
    url: required("URL", field("URL", parseUrl)),
    compression: field("Compression", parseCompression) ?? "bzip2",
    fileHash: field("FileHash", parseSha256),
    fileSize: field("FileSize", parseSize),
    narHash: required("NarHash", field("NarHash", parseSha256)),
    narSize: required("NarSize", field("NarSize", parseNarSize)),
    references: field("References", (names) => parseReferences(names, storeDir)) ?? [],
    deriver: field("Deriver", (name) => parseDeriver(name, storeDir)),
    system: field("System", parseSystem),
    signatures: parseAll("Sig", lines, checkSignature),
    ca: field("CA", checkContentAddress),
  };
}

/**
 * Writes a narinfo byte for byte as Nix does.
 *
 * @param options.fileHashSpelling `base16` is how Cachix serves it. @default {"nix32"}
 * @throws {FormatError} If a value is none that {@link parseNarInfo} takes.
 */
export function printNarInfo(
  info: NarInfo,
  options: { readonly fileHashSpelling?: "nix32" | "base16" } = {},
): string {
  const { fileHash, deriver, system, ca } = info;
  const spelling = options.fileHashSpelling ?? "nix32";
  const values: Readonly<Record<Key, readonly (string | undefined)[]>> = {
    StorePath: [info.storePath],
    URL: [parseUrl(info.url)],
    Compression: [info.compression],
    FileHash: [
      fileHash === undefined || spelling === "nix32"
        ? fileHash
        : formatHash(parseHash(fileHash), spelling),
    ],
    FileSize: [info.fileSize?.toString()],
    NarHash: [info.narHash],
    NarSize: [info.narSize.toString()],
    References: [info.references.map(baseNameOf).join(" ")],
    Deriver: [deriver === undefined ? undefined : baseNameOf(deriver)],
    System: [system === undefined ? undefined : parseSystem(system)],
    Sig: info.signatures.map(checkSignature),
    CA: [ca === undefined ? undefined : checkContentAddress(ca)],
  };
  const lines = KEYS.flatMap((key) =>
    values[key].filter((value) => value !== undefined).map((value) => `${key}: ${value}\n`),
  );
  return lines.join("");
}

function readLines(text: string): ReadonlyMap<Key, readonly string[]> {
  if (text.length > LONGEST_TEXT) throw broken(`expected at most ${LONGEST_TEXT} characters`);
  if (!text.endsWith("\n")) throw broken("expected a line feed at the end");
  const values = new Map<Key, string[]>();
  for (const line of text.slice(0, -1).split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1 || line[colon + 1] !== " ") {
      throw broken(`expected lines "Key: value", found ${quote(line)}`);
    }
    const key = KEYS.find((known) => known === line.slice(0, colon));
    if (key === undefined) continue;
    const value = line.slice(colon + 2);
    const earlier = values.get(key);
    if (earlier === undefined) values.set(key, [value]);
    else if (key === "Sig") earlier.push(value);
    else throw broken(`expected ${key} once`);
  }
  return values;
}

function parseAll<T>(
  key: Key,
  lines: ReadonlyMap<Key, readonly string[]>,
  parse: (value: string) => T,
): readonly T[] {
  try {
    return (lines.get(key) ?? []).map((value) => parse(value));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new FormatError("narinfo", `Cannot read narinfo: ${key}: ${cause.message}`, { cause });
  }
}

function required<T>(key: Key, value: T | undefined): T {
  if (value === undefined) throw broken(`expected ${key}`);
  return value;
}

function parseUrl(text: string): string {
  if (!URL.test(text)) throw notA("URL without spaces", text);
  return text;
}

function parseSystem(text: string): string {
  if (!SYSTEM.test(text)) throw notA("system", text);
  return text;
}

function parseCompression(text: string): NarCompression {
  const known = COMPRESSIONS.find((method) => method === text);
  if (known === undefined) throw notA("compression method", text);
  return known;
}

function parseSize(text: string): number {
  const size = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(size)) throw notA("size in bytes", text);
  return size;
}

function parseNarSize(text: string): number {
  const size = parseSize(text);
  if (size === 0) throw notA("size above 0", text);
  return size;
}

function parseReferences(names: string, storeDir: string): readonly StorePath[] {
  const present = names.split(" ").filter((name) => name !== "");
  return [...new Set(present.map((name) => fromBaseName(name, storeDir)))].toSorted();
}

function parseDeriver(name: string, storeDir: string): StorePath | undefined {
  return name === UNKNOWN_DERIVER ? undefined : fromBaseName(name, storeDir);
}

function checkSignature(text: string): string {
  parseSignature(text);
  return text;
}

function checkContentAddress(text: string): string {
  parseContentAddress(text);
  return text;
}

function notA(what: string, text: string): FormatError {
  return new FormatError("narinfo", `${quote(text)} is not a ${what}`);
}

function broken(rule: string): FormatError {
  return new FormatError("narinfo", `Cannot read narinfo: ${rule}`);
}
