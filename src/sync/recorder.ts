import type { Ledger, Outcome } from "../state/ledger.ts";

const DELAY_MS = 200;
const MOST = 256;

export interface RecorderOptions {
  readonly ledger: Ledger;
  readonly cache: string;
  readonly now: () => number;
}

/**
 * Records what becomes of the paths of one cache, many at once: each write waits for the disk. What
 * a process that dies had not written is asked of the cache again.
 */
export class Recorder implements Disposable {
  readonly #ledger: Ledger;
  readonly #cache: string;
  readonly #now: () => number;
  #outcomes: Outcome[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param options.now The time in milliseconds since 1970. */
  constructor({ ledger, cache, now }: RecorderOptions) {
    this.#ledger = ledger;
    this.#cache = cache;
    this.#now = now;
  }

  add(outcome: Outcome): void {
    this.#outcomes.push(outcome);
    if (this.#outcomes.length >= MOST) this.#flush();
    else this.#timer ??= setTimeout(() => this.#tryFlush(), DELAY_MS);
  }

  /** @throws What keeps the ledger from recording. */
  [Symbol.dispose](): void {
    this.#flush();
  }

  /** On a full disk the next outcome, or the end, tries again and fails where it can be told. */
  #tryFlush(): void {
    try {
      this.#flush();
    } catch {}
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#outcomes.length === 0) return;
    this.#ledger.record(this.#cache, this.#outcomes, this.#now());
    this.#outcomes = [];
  }
}
