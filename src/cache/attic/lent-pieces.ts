interface Lent {
  readonly bytes: Uint8Array;
  readonly taken: PromiseWithResolvers<void>;
}

/**
 * Hands pieces of memory to one reader, one at a time. A reader that ends early leaves the piece that it had
 * to the next, so until the first piece is taken everything can be read again.
 */
export class LentPieces {
  /** True once a piece is taken, which no reader can have again. */
  isBegun = false;
  #isEnded = false;
  #next: PromiseWithResolvers<Lent | undefined> = Promise.withResolvers();

  /** Settles when the reader asks for more; not at all if it ends. One piece at a time. */
  lend(bytes: Uint8Array): Promise<void> {
    const taken = Promise.withResolvers<void>();
    this.#next.resolve({ bytes, taken });
    return taken.promise;
  }

  /** Says that no more pieces come. */
  end(): void {
    this.#isEnded = true;
    this.#next.resolve(undefined);
  }

  async *read(): AsyncGenerator<Uint8Array, void> {
    for (let lent = await this.#next.promise; lent; lent = await this.#next.promise) {
      yield lent.bytes;
      this.isBegun = true;
      this.#next = Promise.withResolvers();
      if (this.#isEnded) this.#next.resolve(undefined);
      lent.taken.resolve();
    }
  }
}
