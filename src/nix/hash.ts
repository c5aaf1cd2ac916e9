import { base32Length, decodeBase32, encodeBase32 } from "./base32.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { FormatError, quote } from "./format-error.ts";

declare const sha256Brand: unique symbol;

/** A SHA-256 in the one spelling used inside handpick: `sha256:` and 52 characters of nix32. */
export type Sha256 = string & { readonly [sha256Brand]: true };

export type HashAlgorithm = "md5" | "sha1" | "sha256" | "sha512";

/** `nix32`, `base16` and `base64` stand after `algorithm:`, `sri` is `algorithm-base64`. */
export type HashSpelling = "nix32" | "base16" | "base64" | "sri";

export interface Hash {
  readonly algorithm: HashAlgorithm;
  readonly digest: Uint8Array;
}

const SIZES: ReadonlyMap<string, number> = new Map<HashAlgorithm, number>([
  ["md5", 16],
  ["sha1", 20],
  ["sha256", 32],
  ["sha512", 64],
]);
const DIGEST_SPELLINGS = {
  nix32: encodeBase32,
  base16: (digest: Uint8Array): string => Buffer.from(digest).toString("hex"),
  base64: encodeBase64,
};
const SHA256_SIZE = 32;
const BASE16 = /^[0-9a-fA-F]+$/;

/**
 * Reads a hash in any of Nix's spellings: `algorithm:` and base16, nix32 or base64, told apart by
 * length; SRI, `algorithm-base64`; or the digest alone if `algorithm` is given.
 *
 * @param algorithm The algorithm of a text without prefix; a prefix must agree with it.
 * @throws {FormatError} If it is none of these.
 */
export function parseHash(text: string, algorithm?: HashAlgorithm): Hash {
  const [, prefix, separator, rest] = /^([a-z0-9]+)([:-])(.*)$/.exec(text) ?? [];
  const found = prefix ?? algorithm;
  if (!isAlgorithm(found)) throw notAHash(text, "expected md5, sha1, sha256 or sha512 in front");
  if (algorithm !== undefined && found !== algorithm) throw notAHash(text, `expected ${algorithm}`);
  const size = SIZES.get(found) ?? 0;
  const digest =
    separator === "-" ? base64Digest(rest ?? "", size) : parseDigest(rest ?? text, size);
  if (digest === undefined) {
    throw notAHash(text, `expected ${size} bytes in base16, nix32 or base64`);
  }
  return { algorithm: found, digest };
}

/** Spells a hash, with its algorithm in front. */
export function formatHash({ algorithm, digest }: Hash, spelling: HashSpelling): string {
  if (spelling === "sri") return `${algorithm}-${encodeBase64(digest)}`;
  return `${algorithm}:${DIGEST_SPELLINGS[spelling](digest)}`;
}

/**
 * Reads a SHA-256 in any spelling, also without prefix.
 *
 * @throws {FormatError} If it is not a SHA-256.
 */
export function parseSha256(text: string): Sha256 {
  return sha256FromDigest(parseHash(text, "sha256").digest);
}

/** @throws {FormatError} If `digest` has not 32 bytes. */
export function sha256FromDigest(digest: Uint8Array): Sha256 {
  if (digest.length !== SHA256_SIZE) {
    throw new FormatError("hash", `A SHA-256 has 32 bytes, found ${digest.length}`);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- brands what was just checked
  return `sha256:${encodeBase32(digest)}` as Sha256;
}

/** @throws {FormatError} If `hex` is not 64 hexadecimal digits. */
export function sha256FromHex(hex: string): Sha256 {
  const digest = base16Digest(hex, SHA256_SIZE);
  if (digest === undefined) throw notAHash(hex, "expected 64 hexadecimal digits");
  return sha256FromDigest(digest);
}

/** 64 lower-case hexadecimal digits without prefix, as Cachix wants file hashes. */
export function sha256ToHex(hash: Sha256): string {
  return Buffer.from(sha256Digest(hash)).toString("hex");
}

/** The 32 bytes. */
export function sha256Digest(hash: Sha256): Uint8Array {
  return decodeBase32(hash.slice("sha256:".length), SHA256_SIZE);
}

function isAlgorithm(text: string | undefined): text is HashAlgorithm {
  return text !== undefined && SIZES.has(text);
}

function parseDigest(text: string, size: number): Uint8Array | undefined {
  if (text.length === size * 2) return base16Digest(text, size);
  if (text.length === base32Length(size)) return decodeBase32(text, size);
  return base64Digest(text, size);
}

function base16Digest(text: string, size: number): Uint8Array | undefined {
  if (text.length !== size * 2 || !BASE16.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, "hex"));
}

function base64Digest(text: string, size: number): Uint8Array | undefined {
  const digest = text.length === Math.ceil(size / 3) * 4 ? decodeBase64(text) : undefined;
  return digest?.length === size ? digest : undefined;
}

function notAHash(text: string, rule: string): FormatError {
  return new FormatError("hash", `${quote(text)} is not a hash: ${rule}`);
}
