import { onAbort } from "../on-abort.ts";

/**
 * Bounds how much is under way to one host at once; the rest waits in the order it came. `maxSockets` of
 * an agent would not do: a request in its queue looks like one that stands still.
 */
export class HostLimit {
  readonly #most: number;
  readonly #shared: HostLimit | undefined;
  readonly #hosts = new Map<string, Host>();

  /** @param shared A limit of several, which holds for what runs here as well. */
  constructor(most: number, shared?: HostLimit) {
    this.#most = most;
    this.#shared = shared;
  }

  /**
   * Runs `task` as soon as the host has room.
   *
   * @throws The reason `signal` was aborted with while it waited, or what `task` throws.
   */
  async run<T>(name: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const waiting = this.#enter(name, signal);
    // Every request passes here, so those that need not wait do without a promise.
    if (waiting !== undefined) await waiting;
    try {
      const shared = this.#shared === undefined ? undefined : this.#shared.#enter(name, signal);
      if (shared !== undefined) await shared;
      try {
        return await task();
      } finally {
        if (this.#shared !== undefined) this.#shared.#leave(name);
      }
    } finally {
      this.#leave(name);
    }
  }

  /** Takes a place, or returns a promise of one. */
  #enter(name: string, signal: AbortSignal): Promise<void> | undefined {
    const host = this.#hosts.get(name) ?? { busy: 0, waiting: new Set() };
    this.#hosts.set(name, host);
    if (host.busy >= this.#most) return turn(host, signal);
    host.busy += 1;
    return undefined;
  }

  #leave(name: string): void {
    const host = this.#hosts.get(name);
    if (host === undefined) return;
    const [next] = host.waiting;
    if (next !== undefined) next();
    else if ((host.busy -= 1) === 0) this.#hosts.delete(name);
  }
}

interface Host {
  busy: number;
  /** Takes the place of one that ended; the first came first. */
  readonly waiting: Set<() => void>;
}

async function turn({ waiting }: Host, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const begin = (): void => {
    waiting.delete(begin);
    resolve();
  };
  const leave = (): void => {
    if (waiting.delete(begin)) reject(signal.reason as Error);
  };
  waiting.add(begin);
  using _listening = onAbort(signal, leave);
  await promise;
}
