import type { DatabaseSync } from "node:sqlite";

import {
  parsePublicKey,
  printPublicKey,
  publicKeyOf,
  type PublicKey,
  type SecretKey,
} from "../nix/key.ts";
import { signFingerprint, verifyFingerprint } from "../nix/signature.ts";
import { refusal } from "./refusal.ts";

const MOST_REGISTERED_KEYS = 32;

/**
 * The keys readers have to trust: `NAME-1`, the managed key by which the server signs every
 * narinfo, and `NAME-2`, `NAME-3`, … for the public keys that clients registered. A client that
 * signs must use a registered key; its signature is published beside that of the managed key, so
 * readers who trust either take the path.
 */
export class KeyRing {
  readonly #db: DatabaseSync;
  readonly #managed: SecretKey;
  readonly #cacheName: string;
  readonly #keys: PublicKey[];

  constructor(db: DatabaseSync, managed: SecretKey, cacheName: string) {
    this.#db = db;
    this.#managed = managed;
    this.#cacheName = cacheName;
    const registered = db.prepare("SELECT name, public_key FROM keys ORDER BY rowid").all();
    this.#keys = [
      publicKeyOf(managed),
      ...registered.map((row) =>
        parsePublicKey(`${String(row["name"])}:${String(row["public_key"])}`),
      ),
    ];
  }

  /** All keys in Nix's form, `name:base64`; the managed one first. */
  get publicKeys(): readonly string[] {
    return this.#keys.map((key) => printPublicKey(key));
  }

  /**
   * Registers a public key given as bare base64; one that is there already stays as it is.
   *
   * @throws {FormatError} If it is not an Ed25519 public key.
   * @throws {HTTPException} 400 if it has a name or the ring is full.
   */
  register(base64: string): void {
    const { name, bytes } = parsePublicKey(base64);
    if (name !== undefined) throw refusal(400, "Register the public key without its name");
    if (this.#keys.some((key) => Buffer.compare(key.bytes, bytes) === 0)) return;
    if (this.#keys.length > MOST_REGISTERED_KEYS)
      throw refusal(400, "Too many keys are registered");
    const key = { name: `${this.#cacheName}-${this.#keys.length + 1}`, bytes };
    this.#db
      .prepare("INSERT INTO keys (public_key, name) VALUES (?, ?)")
      .run(printPublicKey({ name: undefined, bytes }), key.name);
    this.#keys.push(key);
  }

  /**
   * The signatures to publish for a fingerprint: ours and, if there is one, the client's.
   *
   * @param clientSignature Bare base64, as clients send it.
   * @throws {HTTPException} 400 if no key of this cache verifies the client's signature.
   */
  sign(fingerprint: string, clientSignature: string | null): string[] {
    const ours = signFingerprint(fingerprint, this.#managed);
    if (clientSignature === null) return [ours];
    for (const key of this.#keys) {
      const signature = `${key.name}:${clientSignature}`;
      if (verifyFingerprint(fingerprint, signature, [key])) {
        return [...new Set([ours, signature])];
      }
    }
    throw refusal(400, "The signature is not by a key registered with this cache");
  }
}
