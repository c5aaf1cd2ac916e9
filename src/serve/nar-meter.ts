import { createHash } from "node:crypto";

import { sha256FromDigest, type Sha256 } from "../nix/hash.ts";
import { NarReader } from "../nix/nar-reader.ts";
import { refusal } from "./refusal.ts";

/** Hash and size that a client claims for an unpacked NAR. */
export interface NarClaim {
  readonly narHash: Sha256;
  readonly narSize: number;
}

/** Reads a NAR as it is unpacked, keeps nothing of it, and takes no more than it is allowed to. */
export class NarMeter {
  readonly #hash = createHash("sha256");
  readonly #reader = new NarReader();
  #size = 0;
  /** How many bytes the NAR may have. */
  limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  static tooLong(limit: number): Error {
    return refusal(400, `The NAR is longer than cNarSize says, ${limit} bytes`);
  }

  /**
   * @throws {HTTPException} 400 if the NAR gets too long.
   * @throws {FormatError} If it is not well-formed.
   */
  write(chunk: Uint8Array): void {
    this.#size += chunk.length;
    if (this.#size > this.limit) throw NarMeter.tooLong(this.limit);
    this.#hash.update(chunk);
    this.#reader.write(chunk);
  }

  /**
   * Ends the NAR, and compares it with what it is said to be.
   *
   * @throws {HTTPException} 400 if it is something else.
   * @throws {FormatError} If it is not complete.
   */
  assertClaim({ narHash, narSize }: NarClaim): void {
    if (this.#size > narSize) throw NarMeter.tooLong(narSize);
    this.#reader.end();
    if (this.#size !== narSize) {
      throw refusal(400, `The NAR has ${this.#size} bytes where cNarSize says ${narSize}`);
    }
    const found = sha256FromDigest(this.#hash.digest());
    if (found !== narHash) {
      throw refusal(400, `The NAR has the hash ${found} where cNarHash says ${narHash}`);
    }
  }
}
