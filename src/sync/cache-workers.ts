import { setTimeout as sleep } from "node:timers/promises";

/** Works on caches at the same time, on each alone: one that hangs keeps nobody else waiting. */
export class CacheWorkers {
  readonly #busy = new Map<string, Promise<void>>();
  readonly #errors: unknown[] = [];
  readonly #hasFailed: (name: string) => boolean;
  readonly #done = new Set<string>();

  /** @param hasFailed Returns true if the work on a cache failed. */
  constructor(hasFailed: (name: string) => boolean) {
    this.#hasFailed = hasFailed;
  }

  isBusyWith(name: string): boolean {
    return this.#busy.has(name);
  }

  get isBusy(): boolean {
    return this.#busy.size > 0;
  }

  /** Returns true if the workers tried it, and it failed: it is left alone until its time. */
  hasFailedAt(name: string): boolean {
    return this.#done.has(name) && this.#hasFailed(name);
  }

  /** Works on a cache that nobody is busy with, to the end; never rejects. */
  start(name: string, task: () => Promise<void>): Promise<void> {
    const end = async (): Promise<void> => {
      try {
        await task();
        this.#done.add(name);
      } catch (error) {
        this.#errors.push(error);
      } finally {
        this.#busy.delete(name);
      }
    };
    const work = end();
    this.#busy.set(name, work);
    return work;
  }

  /**
   * Waits until nobody is busy, for `timeoutMs` at most.
   *
   * @throws What made work fail.
   */
  async rest(timeoutMs: number): Promise<void> {
    const over = new AbortController();
    const limit = sleep(timeoutMs, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#busy.values()), limit]);
    over.abort();
    if (this.#errors.length > 0) throw this.#errors[0];
  }
}
