/** Threads for one large path, until they are given back. */
export interface Turn {
  readonly threads: number;
  release(): void;
}

/**
 * Shares threads among large paths: one thread each as long as there are as many paths as threads, which
 * waits for nothing; all that are free for one once fewer paths are left.
 */
export class LargeTurns {
  readonly #threads: number;
  readonly #waiting: ((threads: number) => void)[] = [];
  #free: number;
  #running = 0;

  constructor(threads: number) {
    this.#threads = threads;
    this.#free = threads;
  }

  /** @throws The reason `signal` was aborted with. */
  async take(signal: AbortSignal): Promise<Turn> {
    signal.throwIfAborted();
    const threads = await this.#wait(signal);
    let isOut = true;
    return {
      threads,
      release: () => {
        if (!isOut) return;
        isOut = false;
        this.#running -= 1;
        this.#free += threads;
        this.#admit();
      },
    };
  }

  #wait(signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(admit), 1);
        reject(signal.reason as Error);
      };
      const admit = (threads: number): void => {
        signal.removeEventListener("abort", onAbort);
        resolve(threads);
      };
      this.#waiting.push(admit);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#admit();
    });
  }

  #admit(): void {
    while (this.#free > 0) {
      const isMany = this.#running + this.#waiting.length >= this.#threads;
      const admit = this.#waiting.shift();
      if (admit === undefined) return;
      const threads = isMany ? 1 : this.#free;
      this.#running += 1;
      this.#free -= threads;
      admit(threads);
    }
  }
}
