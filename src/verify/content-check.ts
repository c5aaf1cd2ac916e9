import { createHash, type Hash } from "node:crypto";

import { type ContentAddress, parseContentAddress } from "../nix/content-address.ts";
import type { NarInfo } from "../nix/narinfo.ts";
import { NarReader } from "../nix/nar-reader.ts";
import { hashPartOf } from "../nix/store-path.ts";

/** Checks while a NAR is read that it is well-formed, and has the contents that its content address says. */
export interface ContentCheck {
  write(chunk: Uint8Array): void;
  /**
   * @returns Why its contents are others; undefined if they are not.
   * @throws {FormatError} If it is no whole NAR.
   */
  end(): string | undefined;
}

/** How often a path names itself at most: a NAR that does so more often counts as wrong, and fills no memory. */
const MOST_PLACES = 1_000_000;

const WRONG = "its contents are not those of its content address";

/** Makes the check for one path. Trees of git are not hashed. */
export function contentCheck(narInfo: NarInfo): ContentCheck {
  const address = narInfo.ca === undefined ? undefined : parseContentAddress(narInfo.ca);
  if (address === undefined || address.method === "git") return plainCheck();
  return address.method === "recursive" ? narCheck(narInfo, address) : fileCheck(address);
}

function plainCheck(): ContentCheck {
  const grammar = new NarReader();
  return {
    write: (chunk) => grammar.write(chunk),
    end() {
      grammar.end();
      return undefined;
    },
  };
}

function narCheck(narInfo: NarInfo, { hash }: ContentAddress): ContentCheck {
  const { storePath, references } = narInfo;
  const grammar = plainCheck();
  const digest = createHash(hash.algorithm);
  const hasher = references.includes(storePath)
    ? new HashWithoutSelf(digest, hashPartOf(storePath))
    : digest;
  return {
    write(chunk) {
      grammar.write(chunk);
      hasher.update(chunk);
    },
    end: () => grammar.end() ?? difference(hasher.digest(), hash.digest),
  };
}

/** A file that stands alone: its bytes are hashed, and not the NAR. */
function fileCheck({ hash }: ContentAddress): ContentCheck {
  const digest = createHash(hash.algorithm);
  let isFile = true;
  const other = (): void => void (isFile = false);
  const grammar = new NarReader({
    directoryStart: other,
    symlink: other,
    fileData: (bytes) => void digest.update(bytes),
  });
  return {
    write: (chunk) => grammar.write(chunk),
    end() {
      grammar.end();
      return isFile ? difference(digest.digest(), hash.digest) : WRONG;
    },
  };
}

function difference(found: Uint8Array, expected: Uint8Array): string | undefined {
  return Buffer.compare(found, expected) === 0 ? undefined : WRONG;
}

/**
 * Hashes bytes as if the hash part of a path were zeros in them, and then the places where it was, as Nix does
 * with what refers to itself.
 */
class HashWithoutSelf {
  readonly #hash: Hash;
  readonly #part: Buffer;
  readonly #zeros: Buffer;
  readonly #places: number[] = [];
  #rest: Buffer = Buffer.alloc(0);
  #hashed = 0;

  constructor(hash: Hash, part: string) {
    this.#hash = hash;
    this.#part = Buffer.from(part);
    this.#zeros = Buffer.alloc(part.length);
  }

  update(chunk: Uint8Array): void {
    const bytes = Buffer.concat([this.#rest, chunk]);
    for (let at = bytes.indexOf(this.#part); at !== -1; at = bytes.indexOf(this.#part, at)) {
      if (this.#places.length < MOST_PLACES) this.#places.push(this.#hashed + at);
      this.#zeros.copy(bytes, at);
    }
    const kept = Math.min(this.#part.length - 1, bytes.length);
    this.#pass(bytes.subarray(0, bytes.length - kept));
    this.#rest = bytes.subarray(bytes.length - kept);
  }

  digest(): Uint8Array {
    this.#pass(this.#rest);
    for (const place of this.#places) this.#hash.update(`|${place}`);
    return this.#hash.digest();
  }

  #pass(bytes: Buffer): void {
    this.#hash.update(bytes);
    this.#hashed += bytes.length;
  }
}
