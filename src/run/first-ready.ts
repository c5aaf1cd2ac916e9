import { setTimeout as sleep } from "node:timers/promises";

/** How long those that are ready wait for the others. */
const HEAD_START_MS = 2_000;

/** How tasks side by side stand. */
export interface Standings<T> {
  readonly ends: readonly PromiseSettledResult<T>[];
  /** Those that have no end yet; the caller is to await them. */
  readonly late: readonly Promise<T>[];
}

/**
 * Waits for all tasks; once one has succeeded, for no more than two seconds, so that one that hangs
 * keeps none of the others.
 */
export async function firstReady<T>(tasks: readonly Promise<T>[]): Promise<Standings<T>> {
  const ends = new Map<Promise<T>, PromiseSettledResult<T>>();
  const all = Promise.all(
    tasks.map(async (task) => {
      const [end] = await Promise.allSettled([task]);
      ends.set(task, end);
    }),
  );
  const over = new AbortController();
  const headStart = async (): Promise<void> => {
    await Promise.any(tasks);
    await sleep(HEAD_START_MS, undefined, { signal: over.signal });
  };
  // If none succeeds, all have ended.
  await Promise.race([all, headStart().catch(() => all)]);
  over.abort();
  return { ends: [...ends.values()], late: tasks.filter((task) => !ends.has(task)) };
}
