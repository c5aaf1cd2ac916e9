/** Bounds how much is under way to one host at once; the rest waits in the order it came. */
export class HostLimit {
  readonly #most: number;
  readonly #hosts = new Map<string, Host>();

  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Runs `task` as soon as the host has room.
   *
   * @throws The reason `signal` was aborted with while it waited, or what `task` throws.
   */
  async run<T>(name: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const host = this.#hosts.get(name) ?? { busy: 0, waiting: new Set() };
    this.#hosts.set(name, host);
    if (host.busy < this.#most) host.busy += 1;
    else await turn(host, signal);
    try {
      return await task();
    } finally {
      const [next] = host.waiting;
      if (next !== undefined) next();
      else if ((host.busy -= 1) === 0) this.#hosts.delete(name);
    }
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
  signal.addEventListener("abort", leave, { once: true });
  try {
    await promise;
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
