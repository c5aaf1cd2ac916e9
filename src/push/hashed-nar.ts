import { createHash } from "node:crypto";

import { HandpickError } from "../error.ts";
import { sha256FromHex } from "../nix/hash.ts";
import { NarListing } from "../nix/nar-listing.ts";
import { nameOf } from "../nix/store-path.ts";
import { NarSource } from "./nar-source.ts";
import type { PackJob, PackResult, Recorded } from "./pack-protocol.ts";

/** Reads a NAR and hashes it, which proves that it is what the store recorded. */
export class HashedNar implements Disposable {
  readonly #source: NarSource;
  readonly #visitor: NarListing | undefined;
  readonly #recorded: Recorded | undefined;
  /** One byte more than recorded, so that a longer NAR shows as a size that does not match. */
  readonly #mostBytes: number;
  readonly #hash = createHash("sha256");
  /** Bytes that were read. */
  sizeBytes = 0;

  constructor({
    physicalPath,
    narSize,
    recorded,
    listing = false,
  }: Pick<PackJob, "physicalPath" | "narSize" | "recorded" | "listing">) {
    this.#visitor = listing ? new NarListing() : undefined;
    this.#source = new NarSource(physicalPath, { visitor: this.#visitor });
    this.#recorded = recorded;
    this.#mostBytes = narSize > 0 ? narSize + 1 : Infinity;
  }

  /** Fills `into` as {@link NarSource.read} does; returns what of it is filled. */
  read(into: Uint8Array): Uint8Array {
    const wanted = into.subarray(0, this.#mostBytes - this.sizeBytes);
    const chunk = wanted.subarray(0, this.#source.read(wanted));
    this.#hash.update(chunk);
    this.sizeBytes += chunk.length;
    return chunk;
  }

  /**
   * Ends the reading.
   *
   * @throws {HandpickError} `STORE_PATH_CORRUPT` if it is not what was recorded.
   */
  end(): Pick<PackResult, "narHash" | "narSize" | "listing"> {
    const found = { narHash: this.#hash.digest("hex"), narSize: this.sizeBytes };
    if (this.#recorded !== undefined) assertAsRecorded(this.#recorded, found);
    return { ...found, listing: this.#visitor?.listing };
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

function assertAsRecorded(
  recorded: Recorded,
  found: Pick<PackResult, "narHash" | "narSize">,
): void {
  const narHash = sha256FromHex(found.narHash);
  const isSize = recorded.narSize === 0 || recorded.narSize === found.narSize;
  if (narHash === recorded.narHash && isSize) return;
  throw new HandpickError(
    "STORE_PATH_CORRUPT",
    `Cannot push ${nameOf(recorded.path)}: its files are not what the store recorded\n` +
      `  recorded ${recorded.narHash}, ${recorded.narSize} bytes\n` +
      `  found    ${narHash}, ${found.narSize} bytes`,
    { hint: `Run nix-store --repair-path ${recorded.path}, or build it again.` },
  );
}
