import { createHash } from "node:crypto";

import { encodeBase32 } from "./base32.ts";
import { FormatError } from "./format-error.ts";
import { formatHash, parseHash } from "./hash.ts";
import { hashPartOf, nameOf, storeDirOf, type StorePath } from "./store-path.ts";

/** A path that claims to be named for its content. */
export interface Addressed {
  readonly storePath: StorePath;
  readonly references: readonly StorePath[];
  /** Such as `fixed:r:sha256:…`. */
  readonly ca: string;
}

const CONTENT_ADDRESS = /^(text:|fixed:(?:r:|git:)?)(.+)$/;
/** Bytes of the hash part of a store path. */
const HASH_PART_SIZE = 20;

/**
 * Returns true if the content address gives the store path, as Nix computes it. Readers then take the path
 * without a signature.
 */
export function isContentAddressed({ storePath, references, ca }: Addressed): boolean {
  const [, method, text = ""] = CONTENT_ADDRESS.exec(ca) ?? [];
  if (method === undefined) return false;
  const others = references.filter((reference) => reference !== storePath).toSorted();
  const isOwn = others.length < references.length;
  const hash = base16(text);
  if (hash === undefined) return false;
  const isSha256 = hash.startsWith("sha256:");
  if (method === "text:") {
    return isSha256 && !isOwn && isNamedFor(storePath, ["text", ...others, hash]);
  }
  if (method === "fixed:r:" && isSha256) {
    const own = isOwn ? ["self"] : [];
    return isNamedFor(storePath, ["source", ...others, ...own, hash]);
  }
  if (references.length > 0) return false;
  const prefix = method.slice("fixed:".length);
  const digest = sha256(`fixed:out:${prefix}${hash}:`).toString("hex");
  return isNamedFor(storePath, ["output:out", `sha256:${digest}`]);
}

function base16(text: string): string | undefined {
  try {
    return formatHash(parseHash(text), "base16");
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function isNamedFor(path: StorePath, words: readonly string[]): boolean {
  const digest = sha256([...words, storeDirOf(path), nameOf(path)].join(":"));
  const folded = new Uint8Array(HASH_PART_SIZE);
  for (const [index, byte] of digest.entries()) {
    const place = index % HASH_PART_SIZE;
    folded[place] = (folded[place] ?? 0) ^ byte;
  }
  return encodeBase32(folded) === hashPartOf(path);
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
