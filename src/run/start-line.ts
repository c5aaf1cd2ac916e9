import { orAborted } from "../or-aborted.ts";

/** Lets no cache start to push before all of a run are decided about: one that is called off stops all. */
export class StartLine {
  readonly #open = Promise.withResolvers<void>();
  #pending: number;
  #isCalledOff = false;

  constructor(caches: number) {
    this.#pending = caches;
  }

  /**
   * Waits until caches start.
   *
   * @returns True if one of them is called off, and so all are.
   * @throws The reason `signal` was aborted with.
   */
  async arrive(
    { isCalledOff }: { readonly isCalledOff: boolean },
    signal: AbortSignal,
  ): Promise<boolean> {
    if (isCalledOff) this.#isCalledOff = true;
    this.leave();
    await orAborted(this.#open.promise, signal);
    return this.#isCalledOff;
  }

  /** Counts a cache out that is not going to start. */
  leave(): void {
    this.#pending -= 1;
    if (this.#pending <= 0) this.#open.resolve();
  }
}
