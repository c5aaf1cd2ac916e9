/** Memory of at least this size is kept for the next part; smaller memory costs nothing. */
const KEEP_FROM_BYTES = 1 << 20;

/** Memory of parts that were sent, for the next ones: the garbage collector comes late for it. */
export class PartMemory {
  readonly #spare: ArrayBuffer[] = [];

  /** Spare memory counts against no budget, so what does not fit a large request goes. */
  take(sizeBytes: number): ArrayBuffer {
    const at = this.#spare.findIndex((memory) => memory.byteLength === sizeBytes);
    if (at !== -1) return this.#spare.splice(at, 1)[0] ?? new ArrayBuffer(sizeBytes);
    if (sizeBytes >= KEEP_FROM_BYTES) this.#spare.length = 0;
    return new ArrayBuffer(sizeBytes);
  }

  give(memory: ArrayBuffer): void {
    if (memory.byteLength >= KEEP_FROM_BYTES) this.#spare.push(memory);
  }
}
