import { setTimeout as delay } from "node:timers/promises";

/** Time as the retries see it; tests pass one that never waits. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds since some moment; never set back, and stands still while the machine sleeps. */
  elapsed(): number;
  /** Resolves after `ms`; rejects with the reason of `signal` as soon as that is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  },
};
