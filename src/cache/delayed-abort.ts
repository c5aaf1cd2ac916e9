/** A signal that is aborted a while after another one, for what should not be cut at once. */
export class DelayedAbort implements Disposable {
  readonly #source: AbortSignal;
  readonly #delayMs: number;
  readonly #late = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = (): void => {
    this.#timer = setTimeout(() => this.#late.abort(this.#source.reason), this.#delayMs).unref();
  };

  constructor(source: AbortSignal, delayMs: number) {
    this.#source = source;
    this.#delayMs = delayMs;
    if (source.aborted) this.#onAbort();
    else source.addEventListener("abort", this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#late.signal;
  }

  [Symbol.dispose](): void {
    this.#source.removeEventListener("abort", this.#onAbort);
    clearTimeout(this.#timer);
  }
}
