import { decodeBase64, encodeBase64 } from "./base64.ts";
import { FormatError, quote } from "./format-error.ts";
import type { Sha256 } from "./hash.ts";
import { type PublicKey, type SecretKey, verifyBytes } from "./key.ts";
import type { StorePath } from "./store-path.ts";

/** Fields that a signature vouches for; everything else of a narinfo is unsigned. */
export interface Signed {
  readonly storePath: StorePath;
  readonly narHash: Sha256;
  readonly narSize: number;
  readonly references: readonly StorePath[];
}

export interface Signature {
  /** Name of the key. */
  readonly name: string;
  /** 64 bytes. */
  readonly bytes: Uint8Array;
}

const SIGNATURE_SIZE = 64;
const SIGNATURE = /^([^\s:\p{Cc}]{1,255}):([0-9A-Za-z+/]{86}==)$/u;

/** The line that is signed. References are put in byte order, each once. */
export function fingerprint({ storePath, narHash, narSize, references }: Signed): string {
  const sorted = [...new Set(references)].toSorted();
  return `1;${storePath};${narHash};${narSize};${sorted.join(",")}`;
}

/**
 * Reads `name:base64`.
 *
 * @throws {FormatError} If it is not a key's name and the canonical base64 of 64 bytes.
 */
export function parseSignature(text: string): Signature {
  const signature = readSignature(text);
  if (signature === undefined) {
    throw new FormatError("signature", `${quote(text)} is not a signature, "name:base64"`);
  }
  return signature;
}

/** Returns true if `text` is one that {@link parseSignature} reads. */
export function isSignature(text: string): boolean {
  return readSignature(text) !== undefined;
}

/**
 * Returns true if `signature` (`name:base64`) was made over `line` by one of the keys. A key is tried if
 * its name is the signature's or if it has none; several may share a name. A malformed signature
 * is nobody's.
 */
export function verifyFingerprint(
  line: string,
  signature: string,
  publicKeys: Iterable<PublicKey>,
): boolean {
  const read = readSignature(signature);
  if (read === undefined) return false;
  const signed = Buffer.from(line);
  for (const key of publicKeys) {
    const named = key.name === undefined || key.name === read.name;
    if (named && verifyBytes(key, signed, read.bytes)) return true;
  }
  return false;
}

/**
 * Signs a fingerprint. Ed25519 is deterministic: the same key and line give the same text as Nix.
 *
 * @returns `name:base64`.
 * @throws {FormatError} If the key has no name.
 */
export function signFingerprint(line: string, key: SecretKey): string {
  if (key.name === undefined) {
    throw new FormatError("key", "Cannot sign fingerprint: the signing key has no name");
  }
  return `${key.name}:${encodeBase64(key.sign(Buffer.from(line)))}`;
}

function readSignature(text: string): Signature | undefined {
  const [, name, base64] = SIGNATURE.exec(text) ?? [];
  const bytes = decodeBase64(base64 ?? "");
  return name === undefined || bytes?.length !== SIGNATURE_SIZE ? undefined : { name, bytes };
}
