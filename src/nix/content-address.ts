import { createHash } from "node:crypto";

import { encodeBase32 } from "./base32.ts";
import { FormatError, quote } from "./format-error.ts";
import { formatHash, type Hash, parseHash } from "./hash.ts";
import { baseNameOf, nameOf, storeDirOf, type StorePath } from "./store-path.ts";

/** How the bytes that are hashed are taken from a path. */
export type IngestionMethod = "text" | "flat" | "recursive" | "git";

/** A content address, such as `fixed:r:sha256:…`. */
export interface ContentAddress {
  readonly method: IngestionMethod;
  readonly hash: Hash;
}

/** A path with the paths that it refers to, among them maybe itself. */
export interface Addressed {
  readonly storePath: StorePath;
  readonly references: readonly StorePath[];
}

const CONTENT_ADDRESS = /^(text:|fixed:(?:r:|git:)?)([a-z0-9]+:[0-9A-Za-z+/=]+)$/;
const METHODS: Readonly<Record<string, IngestionMethod>> = {
  "text:": "text",
  "fixed:": "flat",
  "fixed:r:": "recursive",
  "fixed:git:": "git",
};
/** In the text that is hashed, in front of the hash. */
const PREFIXES = { flat: "", recursive: "r:", git: "git:" } as const;
/** A SHA-256 is folded to as many bytes for the hash part of a path. */
const FOLDED_SIZE = 20;

/**
 * Reads a content address as a narinfo has it.
 *
 * @throws {FormatError} If it is none.
 */
export function parseContentAddress(text: string): ContentAddress {
  const [, prefix = "", hash] = CONTENT_ADDRESS.exec(text) ?? [];
  const method = METHODS[prefix];
  if (method === undefined || hash === undefined) {
    throw new FormatError("content-address", `${quote(text)} is not a content address`);
  }
  return { method, hash: parseHash(hash) };
}

/**
 * Returns true if a content address gives this very path. Nix computes the path anew, and believes no address
 * that gives another one.
 */
export function givesPath(address: ContentAddress, path: Addressed): boolean {
  const text = describe(address, path);
  if (text === undefined) return false;
  const { storePath } = path;
  const full = `${text}:${storeDirOf(storePath)}:${nameOf(storePath)}`;
  return baseNameOf(storePath).startsWith(`${folded(createHash("sha256").update(full).digest())}-`);
}

/** Returns true if a text is a content address, and gives this very path; see {@link givesPath}. */
export function isContentAddressed(path: Addressed & { readonly ca: string }): boolean {
  try {
    return givesPath(parseContentAddress(path.ca), path);
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

/** The kind of a path and its hash, as Nix describes them; undefined where it knows no such path. */
function describe(
  { method, hash }: ContentAddress,
  { storePath, references }: Addressed,
): string | undefined {
  const isOther = (reference: StorePath): boolean => reference !== storePath;
  const refersToItself = !references.every(isOther);
  const others = [...new Set(references.filter(isOther))].toSorted();
  const isSha256 = hash.algorithm === "sha256";
  const digest = formatHash(hash, "base16");
  if (method === "text") {
    return isSha256 && !refersToItself ? `${["text", ...others].join(":")}:${digest}` : undefined;
  }
  if (method === "recursive" && isSha256) {
    const self = refersToItself ? ["self"] : [];
    return `${["source", ...others, ...self].join(":")}:${digest}`;
  }
  // Nix has nothing in such paths for what they refer to.
  if (references.length > 0) return undefined;
  const inner = createHash("sha256").update(`fixed:out:${PREFIXES[method]}${digest}:`);
  return `output:out:sha256:${inner.digest("hex")}`;
}

/** The hash part that a digest gives. */
function folded(digest: Uint8Array): string {
  const bytes = new Uint8Array(FOLDED_SIZE);
  for (const [index, byte] of digest.entries()) {
    const place = index % FOLDED_SIZE;
    bytes[place] = (bytes[place] ?? 0) ^ byte;
  }
  return encodeBase32(bytes);
}
