import type { HashPart } from "../nix/store-path.ts";

const MOST = 100_000;
const LIFETIME_MS = 5 * 60_000;

/** The paths that no upstream had, for five minutes and the latest 100 000 of them. */
export class Absences {
  /** When each was learnt, the oldest first. */
  readonly #times = new Map<HashPart, number>();
  readonly #now: () => number;

  /** @param now Milliseconds since some moment. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  has(path: HashPart): boolean {
    const time = this.#times.get(path);
    return time !== undefined && this.#now() - time < LIFETIME_MS;
  }

  add(path: HashPart): void {
    this.#times.delete(path);
    this.#times.set(path, this.#now());
    if (this.#times.size <= MOST) return;
    for (const oldest of this.#times.keys()) {
      this.#times.delete(oldest);
      return;
    }
  }
}
