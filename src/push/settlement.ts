/** Becomes true or false once. Many wait for it, so one that waits has no listener of its own for an end of the run. */
export class Settlement {
  #value: boolean | undefined;
  #next: PromiseWithResolvers<void> | undefined;

  /** Undefined until it is certain. */
  get value(): boolean | undefined {
    return this.#value;
  }

  /** The first word counts. */
  settle(value: boolean): void {
    if (this.#value !== undefined) return;
    this.#value = value;
    this.wake();
  }

  /** Lets those that wait look again. */
  wake(): void {
    this.#next?.resolve();
    this.#next = undefined;
  }

  /** Settles with the value, or with the next call of {@link wake}. */
  next(): Promise<void> {
    this.#next ??= Promise.withResolvers();
    return this.#next.promise;
  }
}
