import { onAbort } from "./on-abort.ts";

interface Waiter {
  readonly amount: number;
  readonly admit: () => void;
}

/**
 * A shared amount of something (bytes, connections, threads) that tasks take and give back, first
 * come, first served. An amount above the capacity is admitted alone, so nothing waits for ever.
 */
export class Budget {
  #capacity: number;
  #used = 0;
  readonly #waiters: Waiter[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** More or less from now on; what is out stays out. */
  resize(capacity: number): void {
    this.#capacity = capacity;
    this.#admitWaiters();
  }

  /**
   * Resolves with a function that gives the amount back; calling it twice does nothing more.
   *
   * @throws The reason `signal` was aborted with.
   */
  async take(amount: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#waiters.length > 0 || !this.#fits(amount)) await this.#wait(amount, signal);
    else this.#used += amount;
    let out = true;
    return () => {
      if (!out) return;
      out = false;
      this.#used -= amount;
      this.#admitWaiters();
    };
  }

  #fits(amount: number): boolean {
    return this.#used === 0 || this.#used + amount <= this.#capacity;
  }

  #wait(amount: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        this.#admitWaiters();
        reject(signal.reason as Error);
      };
      const admit = (): void => {
        listening[Symbol.dispose]();
        resolve();
      };
      const waiter: Waiter = { amount, admit };
      this.#waiters.push(waiter);
      const listening = onAbort(signal, leave);
    });
  }

  #admitWaiters(): void {
    for (let first = this.#waiters[0]; first !== undefined; first = this.#waiters[0]) {
      if (!this.#fits(first.amount)) return;
      this.#used += first.amount;
      this.#waiters.shift();
      first.admit();
    }
  }
}
