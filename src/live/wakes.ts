import { type FSWatcher, watch } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** How long to let things come together: one build gives several events. */
const SETTLE_MS = 100;
/** Events get lost when the kernel's queue is full, and on some file systems there are none. */
const POLL_MS = 30_000;
/** Where the kernel has no watch left to give. */
const POLL_BLINDLY_MS = 1_000;

export interface WakeOptions {
  /** Ends it, without an error. */
  readonly signal: AbortSignal;
  /** How long it may be silent at most, asked each time. @default {half a minute} */
  readonly pollMs?: () => number;
}

/** Yields at once, and then whenever something may have changed in a folder. */
export async function* wakes(
  folder: string,
  { signal, pollMs = () => POLL_MS }: WakeOptions,
): AsyncGenerator<void> {
  let changed = Promise.withResolvers<void>();
  using watcher = tryWatch(folder, () => changed.resolve());
  while (!signal.aborted) {
    // Before the look that follows, which then sees all that was announced so far.
    changed = Promise.withResolvers<void>();
    yield;
    const longestMs = watcher.isBlind() ? POLL_BLINDLY_MS : POLL_MS;
    await silence(changed.promise, Math.min(longestMs, pollMs()), signal);
    await sleep(SETTLE_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Waits for a change, for some time, or for the end. */
async function silence(changed: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
  using stack = new DisposableStack();
  const over = new AbortController();
  stack.defer(() => over.abort());
  const either = AbortSignal.any([signal, over.signal]);
  await Promise.race([changed, sleep(Math.max(ms, 0), undefined, { signal: either })]).catch(
    () => undefined,
  );
}

interface Watcher extends Disposable {
  /** Returns true if nothing will be told. */
  isBlind(): boolean;
}

function tryWatch(folder: string, onChange: () => void): Watcher {
  let watcher: FSWatcher | undefined;
  const close = (): void => {
    watcher?.close();
    watcher = undefined;
  };
  try {
    watcher = watch(folder, onChange);
    watcher.on("error", close);
  } catch {
    // It is looked at again and again instead.
  }
  return { isBlind: () => watcher === undefined, [Symbol.dispose]: close };
}
