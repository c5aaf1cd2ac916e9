/**
 * Bytes that come in pieces, in one memory. Pieces are copied: to keep one takes some 400 bytes, and a
 * hostile peer may send single ones.
 */
export class GatheredBytes {
  #memory = Buffer.alloc(0);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(piece: Uint8Array): void {
    const size = this.#size + piece.length;
    if (size > this.#memory.length) {
      const larger = Buffer.allocUnsafe(Math.max(size, 2 * this.#memory.length));
      this.#memory.copy(larger);
      this.#memory = larger;
    }
    this.#memory.set(piece, this.#size);
    this.#size = size;
  }

  /** All of them so far; not a copy. */
  bytes(): Buffer {
    return this.#memory.subarray(0, this.#size);
  }
}
