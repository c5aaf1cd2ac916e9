import type { Clock } from "../../src/clock.ts";

/** A clock whose time passes only in `sleep`, at once. */
export interface FakeClock extends Clock {
  /** Every wait so far, in milliseconds. */
  readonly sleeps: readonly number[];
  advance(ms: number): void;
}

export function createFakeClock(startMs: number = Date.UTC(2026, 0, 1)): FakeClock {
  const sleeps: number[] = [];
  let nowMs = startMs;
  return {
    sleeps,
    now: () => nowMs,
    elapsed: () => nowMs,
    advance: (ms) => void (nowMs += ms),
    async sleep(ms, signal) {
      signal.throwIfAborted();
      sleeps.push(ms);
      nowMs += ms;
    },
  };
}
