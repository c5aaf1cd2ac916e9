import { isMainThread, workerData } from "node:worker_threads";

/**
 * One word shared with a packing thread. Node aborts the whole process ("close before init") if a
 * thread ends between making a compressor and initialising it, so threads make them inside; and a
 * program started there is one that we have heard of.
 */
export type ThreadGate = Int32Array<SharedArrayBuffer>;

const OPEN = 0;
const HELD = 1;
const SHUT = 2;

export function createGate(): ThreadGate {
  return new Int32Array(new SharedArrayBuffer(4));
}

/** In a packing thread: runs `task` so that the thread is not ended in the middle of it. */
export function insideGate<T>(task: () => T): T {
  if (isMainThread) return task();
  const gate = workerData as ThreadGate;
  while (Atomics.compareExchange(gate, 0, OPEN, HELD) === SHUT) Atomics.wait(gate, 0, SHUT);
  try {
    return task();
  } finally {
    Atomics.store(gate, 0, OPEN);
    Atomics.notify(gate, 0);
  }
}

/** Waits until the thread is outside; it does not get in again and may be ended. */
export async function shutGate(gate: ThreadGate): Promise<void> {
  while (Atomics.compareExchange(gate, 0, OPEN, SHUT) === HELD) {
    await Atomics.waitAsync(gate, 0, HELD).value;
  }
}
