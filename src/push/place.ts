import type { Budget } from "../budget.ts";

/** The place of a path among those on their way. It is left while the path only waits for others. */
export class Place {
  readonly #places: Budget;
  readonly #signal: AbortSignal;
  #leave: (() => void) | undefined;

  constructor(places: Budget, signal: AbortSignal) {
    this.#places = places;
    this.#signal = signal;
  }

  /**
   * Takes the place, where it is not taken.
   *
   * @throws The reason `signal` was aborted with.
   */
  async take(): Promise<void> {
    this.#leave ??= await this.#places.take(1, this.#signal);
  }

  leave(): void {
    this.#leave?.();
    this.#leave = undefined;
  }
}
