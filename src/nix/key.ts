import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { FormatError } from "./format-error.ts";

/** An Ed25519 key that readers trust. Without a name it is tried on every signature. */
export interface PublicKey {
  readonly name: string | undefined;
  /** 32 bytes. */
  readonly bytes: Uint8Array;
}

const SEED_SIZE = 32;
const SECRET_SIZE = 64;
const LONGEST_TEXT = 1024;
/** Nix splits lists of keys at white space, so a name cannot contain any. */
const KEY_NAME = /^[^\s:\p{Cc}]{1,255}$/u;
/** DER that goes before the 32 bytes of an Ed25519 key, for lack of a raw import in node:crypto. */
const PKCS8_PREFIX: Uint8Array = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX: Uint8Array = Buffer.from("302a300506032b6570032100", "hex");

/**
 * An Ed25519 signing key. Inspecting or serialising it shows the name only, because private fields
 * and getters are left out of both; nothing but {@link SecretKey.reveal} hands the secret out.
 */
export class SecretKey {
  readonly name: string | undefined;
  readonly #seed: Uint8Array;
  readonly #publicBytes: Uint8Array;
  readonly #key: KeyObject;

  /** @param seed 32 secret bytes, from which the public half follows. */
  constructor(name: string | undefined, seed: Uint8Array) {
    this.name = name;
    this.#seed = seed;
    this.#key = createPrivateKey({
      key: Buffer.concat([PKCS8_PREFIX, seed]),
      format: "der",
      type: "pkcs8",
    });
    const spki = createPublicKey(this.#key).export({ format: "der", type: "spki" });
    this.#publicBytes = new Uint8Array(spki.subarray(SPKI_PREFIX.length));
  }

  /** The public half, 32 bytes. */
  get publicBytes(): Uint8Array {
    return this.#publicBytes;
  }

  /** The 64 bytes of the Ed25519 signature over `bytes`. */
  sign(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(sign(null, bytes, this.#key));
  }

  /** Seed and public half, 64 bytes. For key files only. */
  reveal(): Uint8Array {
    return Buffer.concat([this.#seed, this.publicBytes]);
  }
}

/**
 * Reads a signing key in Nix's spelling, `name:base64`, or in Cachix's, which has no name. White
 * space around it is ignored. Messages quote nothing of the text.
 *
 * @param defaultName The name of a key that has none.
 * @throws {FormatError} If it is not base64 of seed and matching public half.
 */
export function parseSecretKey(text: string, defaultName?: string): SecretKey {
  const { name, bytes } = splitKey(text, "signing key");
  if (bytes.length !== SECRET_SIZE) {
    throw new FormatError(
      "key",
      `Cannot read signing key: expected ${SECRET_SIZE} bytes, found ${bytes.length}`,
    );
  }
  const secret = new SecretKey(name ?? defaultName, bytes.slice(0, SEED_SIZE));
  if (Buffer.compare(secret.publicBytes, bytes.subarray(SEED_SIZE)) !== 0) {
    throw new FormatError(
      "key",
      "Cannot read signing key: its public half does not belong to its secret half",
    );
  }
  return secret;
}

/** A new signing key. @throws {FormatError} If Nix would not take `name` for a key. */
export function generateSecretKey(name: string): SecretKey {
  if (!KEY_NAME.test(name)) throw badName("signing key");
  return new SecretKey(name, new Uint8Array(randomBytes(SEED_SIZE)));
}

/**
 * Spells a signing key for a file or a secret variable: `name:base64` for Nix, the base64 alone for
 * Cachix.
 *
 * @throws {FormatError} If Nix's spelling is wanted of a key without name.
 */
export function printSecretKey(secret: SecretKey, spelling: "nix" | "cachix"): string {
  const base64 = encodeBase64(secret.reveal());
  if (spelling === "cachix") return base64;
  if (secret.name === undefined) {
    throw new FormatError("key", "Cannot print signing key for Nix: it has no name");
  }
  return `${secret.name}:${base64}`;
}

/** The key that verifies what `secret` signs. */
export function publicKeyOf(secret: SecretKey): PublicKey {
  return { name: secret.name, bytes: secret.publicBytes };
}

/**
 * Reads a public key, `name:base64` as in `trusted-public-keys`, or base64 alone.
 *
 * @throws {FormatError} If it is not base64 of 32 bytes.
 */
export function parsePublicKey(text: string): PublicKey {
  const key = splitKey(text, "public key");
  if (key.bytes.length !== SEED_SIZE) {
    throw new FormatError(
      "key",
      `Cannot read public key: expected ${SEED_SIZE} bytes, found ${key.bytes.length}`,
    );
  }
  return key;
}

/** Spells a public key as `trusted-public-keys` wants it; base64 alone if it has no name. */
export function printPublicKey({ name, bytes }: PublicKey): string {
  return name === undefined ? encodeBase64(bytes) : `${name}:${encodeBase64(bytes)}`;
}

/** Returns true if `signature` is that of the holder of `key` over `bytes`. */
export function verifyBytes(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  const der = Buffer.concat([SPKI_PREFIX, key.bytes]);
  return verify(null, bytes, createPublicKey({ key: der, format: "der", type: "spki" }), signature);
}

function splitKey(text: string, what: string): { name: string | undefined; bytes: Uint8Array } {
  const trimmed = text.length > LONGEST_TEXT ? "" : text.trim();
  const colon = trimmed.indexOf(":");
  const name = colon === -1 ? undefined : trimmed.slice(0, colon);
  if (name !== undefined && !KEY_NAME.test(name)) throw badName(what);
  const bytes = decodeBase64(trimmed.slice(colon + 1));
  if (bytes === undefined || bytes.length === 0) {
    throw new FormatError("key", `Cannot read ${what}: expected "name:base64" or base64`);
  }
  return { name, bytes };
}

function badName(what: string): FormatError {
  return new FormatError(
    "key",
    `Cannot use name of ${what}: expected 1 to 255 characters without space, colon and control characters`,
  );
}
