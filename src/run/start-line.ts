import { orAborted } from "../or-aborted.ts";

/** How long caches that are decided about wait for the others. */
const HEAD_START_MS = 2_000;

export interface StartLineOptions {
  /** True if none starts before all are decided about. */
  readonly waitsForAll: boolean;
}

/** The caches at the moment of a start. */
export interface Start {
  /** Caches that something goes to, or that may turn out to be such. */
  readonly shares: number;
  /** True if one of them is called off, and so all are. */
  readonly isCalledOff: boolean;
}

/**
 * Lets caches start to push together, so that each knows its share of the machine; once one is decided
 * about, none waits longer than two seconds, so that one that hangs keeps none of the others.
 */
export class StartLine {
  readonly #open = Promise.withResolvers<void>();
  readonly #waitsForAll: boolean;
  #pending: number;
  #taking = 0;
  #isCalledOff = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(caches: number, { waitsForAll }: StartLineOptions) {
    this.#pending = caches;
    this.#waitsForAll = waitsForAll;
  }

  /**
   * Waits until caches start.
   *
   * @throws The reason `signal` was aborted with.
   */
  async arrive(
    { takes, isCalledOff }: { readonly takes: boolean; readonly isCalledOff: boolean },
    signal: AbortSignal,
  ): Promise<Start> {
    if (takes) this.#taking += 1;
    if (isCalledOff) this.#isCalledOff = true;
    this.leave();
    if (!this.#waitsForAll) {
      this.#timer ??= setTimeout(() => this.#open.resolve(), HEAD_START_MS).unref();
    }
    await orAborted(this.#open.promise, signal);
    return { shares: Math.max(this.#taking + this.#pending, 1), isCalledOff: this.#isCalledOff };
  }

  /** Counts a cache out that is not going to start. */
  leave(): void {
    this.#pending -= 1;
    if (this.#pending > 0) return;
    clearTimeout(this.#timer);
    this.#open.resolve();
  }
}
