import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";

/** One slice of the compressed file, in lent memory. */
export interface CutPart {
  /** From 1. */
  readonly number: number;
  readonly memory: ArrayBuffer;
  /** How much of the memory is used. */
  readonly sizeBytes: number;
  /** MD5 of the bytes, base64. */
  readonly md5: string;
  /** NAR bytes compressed since the part before was cut; over all parts, the size of the NAR. */
  readonly narBytes: number;
}

/** Where full parts go and where memory for the next one comes from. */
export interface PartSink {
  /** Resolves with memory of at least `sizeBytes`. */
  need(sizeBytes: number): Promise<ArrayBuffer>;
  part(part: CutPart): void;
}

/**
 * Hashes the compressed file and cuts it into parts. Bytes move into granted memory, and waiting for
 * grants is the pipeline's back-pressure.
 */
export class PartWriter {
  readonly #sink: PartSink;
  readonly #partSize: number;
  readonly #hash = createHash("sha256");
  #partHash = createHash("md5");
  #memory: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #number = 0;
  #coveredBytes = 0;
  fileSize = 0;
  /** NAR bytes given to the compressor so far; kept by whoever feeds it. */
  narBytes = 0;

  constructor(sink: PartSink, partSize: number) {
    this.#sink = sink;
    this.#partSize = partSize;
  }

  /** Takes bytes that more will follow. */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    for (const bytes of pieces) {
      await this.#store(bytes, this.#partSize);
      await setImmediate(); // The compressor may have been waiting for this thread.
    }
  }

  /** Takes the last bytes, asking for no more memory than they need; returns the SHA-256 in hex. */
  async end(pieces: readonly Uint8Array[]): Promise<string> {
    let rest = pieces.reduce((sum, bytes) => sum + bytes.length, 0);
    for (const bytes of pieces) {
      await this.#store(bytes, Math.min(rest, this.#partSize));
      rest -= bytes.length;
    }
    if (this.#memory !== undefined) this.#finishPart(this.#memory);
    return this.#hash.digest("hex");
  }

  async #store(bytes: Uint8Array, memoryBytes: number): Promise<void> {
    this.#hash.update(bytes);
    this.fileSize += bytes.length;
    let offset = 0;
    while (offset < bytes.length) {
      this.#memory ??= new Uint8Array(await this.#sink.need(memoryBytes));
      const piece = bytes.subarray(offset, offset + this.#partSize - this.#filled);
      this.#memory.set(piece, this.#filled);
      this.#partHash.update(piece);
      this.#filled += piece.length;
      offset += piece.length;
      if (this.#filled === this.#partSize) this.#finishPart(this.#memory);
    }
  }

  #finishPart(memory: Uint8Array<ArrayBuffer>): void {
    this.#number += 1;
    const sizeBytes = this.#filled;
    const md5 = this.#partHash.digest("base64");
    this.#partHash = createHash("md5");
    const narBytes = this.narBytes - this.#coveredBytes;
    this.#coveredBytes = this.narBytes;
    this.#sink.part({ number: this.#number, memory: memory.buffer, sizeBytes, md5, narBytes });
    this.#memory = undefined;
    this.#filled = 0;
  }
}
