import type { PartTraits } from "../cache/contract.ts";
import { Budget } from "../budget.ts";

/** Parts this small go out at once: they cost a round trip, not bandwidth. */
const TINY_PART_BYTES = 256 << 10;
const SLOW_PART_BYTES = 5 << 20;
const NORMAL_PART_BYTES = 8 << 20;
/** The compressed file may be larger than the NAR. */
const MOST_OF_PARTS = 0.9;
/** Where parts may take any time. */
const DEFAULT_LIFETIME_MS = 300_000;
/** A part should be through in this fraction of its time. */
const PART_SHARE = 0.2;
const FIRST_PARALLEL_PARTS = 4;
const MAX_PARALLEL_PARTS = 16;
const SAMPLE_MS = 1_000;

/** The least part size, in bytes, with which a path goes into a cache. */
export function leastPartSize(
  narSize: number,
  { minBytes, maxParts }: Pick<PartTraits, "minBytes" | "maxParts">,
): number {
  return Math.max(minBytes, Math.ceil(narSize / Math.floor(maxParts * MOST_OF_PARTS)));
}

/**
 * Fits parts to the link: measures what goes through and lets only as many large parts out at once
 * as the link carries within a fifth of the time that each has, and makes parts as small as allowed on slow links.
 */
export class Pace {
  readonly #parts = new Budget(FIRST_PARALLEL_PARTS);
  readonly #limits: Pick<PartTraits, "minBytes" | "maxParts">;
  readonly #partSeconds: number;
  readonly #now: () => number;
  #bytesPerSecond: number | undefined;
  #sampleStart: number;
  #sampleBytes = 0;
  #inFlight = 0;

  /** @param now Milliseconds of a clock that never runs backwards. */
  constructor(
    { lifetimeMs = DEFAULT_LIFETIME_MS, ...limits }: PartTraits,
    now: () => number = () => performance.now(),
  ) {
    this.#limits = limits;
    this.#partSeconds = (lifetimeMs * PART_SHARE) / 1_000;
    this.#now = now;
    this.#sampleStart = now();
  }

  /** The part size in bytes for an upload that begins now. */
  partSize(narSize: number): number {
    const floor = leastPartSize(narSize, this.#limits);
    const rate = this.#bytesPerSecond ?? Infinity;
    const isSlow = rate * this.#partSeconds < NORMAL_PART_BYTES;
    return Math.max(floor, isSlow ? SLOW_PART_BYTES : NORMAL_PART_BYTES);
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
    const carried = Math.floor((this.#bytesPerSecond * this.#partSeconds) / NORMAL_PART_BYTES);
    this.#parts.resize(Math.min(MAX_PARALLEL_PARTS, Math.max(1, carried)));
    this.#restart();
  }
}
