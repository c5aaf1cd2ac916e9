/** Lets a limited number of tasks run at once; the others wait their turn in order. */
export class Slots {
  #free: number;
  /** In the order they came; unlike an array it gives up its first in constant time. */
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.add(resolve));
    try {
      return await task();
    } finally {
      // A slot goes straight to the next in line, so a newcomer cannot overtake it.
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#free += 1;
      } else {
        this.#waiting.delete(next);
        next();
      }
    }
  }
}
