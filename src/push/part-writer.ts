import { createHash, type Hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";

/** One slice of the compressed file, in lent memory. */
export interface CutPart {
  /** From 1. */
  readonly number: number;
  /** Where in the file it begins, in bytes. */
  readonly offset: number;
  readonly memory: ArrayBuffer;
  /** How much of the memory is used. */
  readonly sizeBytes: number;
  /** MD5 of the bytes, base64; empty if it was not asked for. */
  readonly md5: string;
  /** NAR bytes compressed since the part before was cut; over all parts, the size of the NAR. */
  readonly narBytes: number;
  /** SHA-256, in hex, of the file up to the end of this part. */
  readonly hashSoFar: string;
  /** True for the end of the file. */
  readonly isLast: boolean;
}

/** Where full parts go and where memory for the next one comes from. */
export interface PartSink {
  /** Resolves with memory of at least `sizeBytes`. */
  need(sizeBytes: number): Promise<ArrayBuffer>;
  part(part: CutPart): void;
}

/** Compressed bytes, and how much of the NAR went into them. */
export interface Packed {
  readonly pieces: readonly Uint8Array[];
  readonly narBytes: number;
}

/**
 * Hashes the compressed file and cuts it into parts. Bytes move into granted memory, and waiting for
 * grants is the pipeline's back-pressure.
 */
export class PartWriter {
  readonly #sink: PartSink;
  readonly #partSize: number;
  readonly #md5: boolean;
  readonly #hash = createHash("sha256");
  #partHash: Hash | undefined;
  #memory: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #number = 0;
  /** Of the NAR, what is in the file so far; a share where a chunk is stored in part. */
  #narBytes = 0;
  #coveredBytes = 0;
  fileSize = 0;

  constructor(
    sink: PartSink,
    { partSize, md5 = false }: { readonly partSize: number; readonly md5?: boolean },
  ) {
    this.#sink = sink;
    this.#partSize = partSize;
    this.#md5 = md5;
  }

  /** Takes bytes that more will follow. */
  async write(packed: Packed): Promise<void> {
    await this.#storeAll(packed, false);
  }

  /** Takes the last bytes, at least one, in no more memory than they need; returns the SHA-256 in hex. */
  async end(packed: Packed): Promise<string> {
    await this.#storeAll(packed, true);
    return this.#hash.digest("hex");
  }

  async #storeAll({ pieces, narBytes }: Packed, isEnd: boolean): Promise<void> {
    const before = this.#narBytes;
    const totalBytes = pieces.reduce((sum, bytes) => sum + bytes.length, 0);
    let restBytes = totalBytes;
    for (const bytes of pieces) {
      for (let offset = 0; offset < bytes.length;) {
        const mostBytes = isEnd ? Math.min(restBytes, this.#partSize) : this.#partSize;
        this.#memory ??= new Uint8Array(await this.#sink.need(mostBytes));
        const piece = bytes.subarray(offset, offset + this.#partSize - this.#filled);
        offset += piece.length;
        restBytes -= piece.length;
        this.#narBytes = before + narBytes * (1 - restBytes / totalBytes);
        this.#store(piece, this.#memory);
        const isLast = isEnd && restBytes === 0;
        if (isLast || this.#filled === this.#partSize) this.#finishPart(this.#memory, isLast);
      }
      await setImmediate(); // The compressor may have been waiting for this thread.
    }
    this.#narBytes = before + narBytes;
  }

  #store(piece: Uint8Array, memory: Uint8Array<ArrayBuffer>): void {
    this.#hash.update(piece);
    if (this.#md5) (this.#partHash ??= createHash("md5")).update(piece);
    memory.set(piece, this.#filled);
    this.fileSize += piece.length;
    this.#filled += piece.length;
  }

  #finishPart(memory: Uint8Array<ArrayBuffer>, isLast: boolean): void {
    this.#number += 1;
    const sizeBytes = this.#filled;
    const md5 = this.#partHash?.digest("base64") ?? "";
    this.#partHash = undefined;
    const offset = this.fileSize - sizeBytes;
    const narBytes = Math.round(this.#narBytes) - this.#coveredBytes;
    this.#coveredBytes += narBytes;
    const { buffer } = memory;
    const hashSoFar = this.#hash.copy().digest("hex");
    const cut = { number: this.#number, offset, memory: buffer, sizeBytes, md5, narBytes };
    this.#sink.part({ ...cut, hashSoFar, isLast });
    this.#memory = undefined;
    this.#filled = 0;
  }
}
