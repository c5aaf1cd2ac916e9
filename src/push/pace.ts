import { Budget } from "./budget.ts";

/** Parts this small go out at once: they cost a round trip, not bandwidth. */
const TINY_PART_BYTES = 256 << 10;
/** Object stores refuse parts below this, except for the last. */
const MIN_PART_BYTES = 5 << 20;
const NORMAL_PART_BYTES = 8 << 20;
/** Object stores take at most 10 000 parts; the compressed file may be larger than the NAR. */
const MAX_PARTS = 9_000;
/** A part's URL lives for 300 s; a part should be through in a fraction of that. */
const PART_SECONDS = 60;
const FIRST_PARALLEL_PARTS = 4;
const MAX_PARALLEL_PARTS = 16;
const SAMPLE_MS = 1_000;

/**
 * Fits parts to the link: measures what goes through and lets only as many large parts out at once
 * as the link carries within a minute each, and makes parts as small as allowed on slow links.
 */
export class Pace {
  readonly #parts = new Budget(FIRST_PARALLEL_PARTS);
  readonly #now: () => number;
  #bytesPerSecond: number | undefined;
  #sampleStart: number;
  #sampleBytes = 0;
  #inFlight = 0;

  /** @param now Milliseconds of a clock that never runs backwards. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#sampleStart = now();
  }

  /** The part size in bytes for an upload that begins now. */
  partSize(narSize: number): number {
    const floor = Math.ceil(narSize / MAX_PARTS);
    const slow =
      this.#bytesPerSecond !== undefined && this.#bytesPerSecond * PART_SECONDS < NORMAL_PART_BYTES;
    return Math.max(floor, slow ? MIN_PART_BYTES : NORMAL_PART_BYTES);
  }

  /** Runs `send` for a part of this size when the link has room for it. */
  async send(sizeBytes: number, signal: AbortSignal, send: () => Promise<void>): Promise<void> {
    if (sizeBytes <= TINY_PART_BYTES) return send();
    const done = await this.#parts.take(1, signal);
    if (this.#inFlight === 0) this.#restart();
    this.#inFlight += 1;
    try {
      await send();
      this.#measure(sizeBytes);
    } finally {
      this.#inFlight -= 1;
      done();
    }
  }

  /** Idle time is not slowness: a sample begins when the link becomes busy. */
  #restart(): void {
    this.#sampleStart = this.#now();
    this.#sampleBytes = 0;
  }

  #measure(sizeBytes: number): void {
    this.#sampleBytes += sizeBytes;
    const elapsedMs = this.#now() - this.#sampleStart;
    if (elapsedMs < SAMPLE_MS && this.#bytesPerSecond !== undefined) return;
    this.#bytesPerSecond = (this.#sampleBytes * 1_000) / Math.max(elapsedMs, 1);
    const carried = Math.floor((this.#bytesPerSecond * PART_SECONDS) / NORMAL_PART_BYTES);
    this.#parts.resize(Math.min(MAX_PARALLEL_PARTS, Math.max(1, carried)));
    this.#restart();
  }
}
