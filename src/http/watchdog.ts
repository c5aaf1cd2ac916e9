import type { Timeouts } from "./http-message.ts";

/** Bytes that have to be sent to count as progress. */
export const SENT_STEP_BYTES = 65_536;
/** Bytes that an answer has to bring to count as progress: single ones could go on for hours. */
const RECEIVED_STEP_BYTES = 16 * 1024;
/**
 * The slowest line that a body of any size gets through on: half of the slowest DSL, which sends
 * 256 kbit/s. A peer that is slower has `totalMs` and a little more.
 */
const LOWEST_BYTES_PER_SECOND = 16 * 1024;

/** A proxy may take all of a body before it sends any of it on, over a line that is no slower than this. */
const FORWARDED_BYTES_PER_SECOND = 1 << 20;

/**
 * Ends a request that stands still, or takes too long for what has come through; time in which the
 * peer waits for us does not count. One timer serves both bounds: it is set anew only when it fires
 * or a bound moves ahead of it.
 */
export class Watchdog {
  readonly #timeouts: Timeouts;
  readonly #fail: (error: Error) => void;
  readonly #startMs = performance.now();
  #movedBytes = 0;
  #stepBytes = SENT_STEP_BYTES;
  #progressAtBytes = SENT_STEP_BYTES;
  #waitMs: number;
  #waitsFor = "no progress was made";
  #waitsSinceMs = this.#startMs;
  /** The clock of this class leaves out the time that is ours. */
  #ownMs = 0;
  #pausedAtMs: number | undefined;
  #isAnswered = false;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;
  #timerEndMs = Infinity;

  constructor(timeouts: Timeouts, fail: (error: Error) => void) {
    this.#timeouts = timeouts;
    this.#fail = fail;
    this.#waitMs = timeouts.idleMs;
    this.#arm();
  }

  /** Counts bytes of the body or of the answer. */
  moved(bytes: number): void {
    this.#movedBytes += bytes;
    if (this.#movedBytes < this.#progressAtBytes) return;
    this.#progressAtBytes = this.#movedBytes + this.#stepBytes;
    this.#waitsSinceMs = this.#nowMs();
  }

  /** Stops the clock: the peer waits for us. */
  pause(): void {
    this.#pausedAtMs ??= performance.now();
  }

  resume(): void {
    if (this.#pausedAtMs === undefined) return;
    this.#ownMs += performance.now() - this.#pausedAtMs;
    this.#pausedAtMs = undefined;
    this.#arm();
  }

  /** Waits for the head of the answer. */
  sent(): void {
    if (this.#isAnswered) return;
    const forwardedSeconds = Math.floor(this.#movedBytes / FORWARDED_BYTES_PER_SECOND);
    this.#waitFor("no answer came", this.#timeouts.answerMs + forwardedSeconds * 1000);
  }

  /** Waits for the body of the answer. */
  answered(): void {
    this.#isAnswered = true;
    this.#stepBytes = RECEIVED_STEP_BYTES;
    this.#progressAtBytes = this.#movedBytes + RECEIVED_STEP_BYTES;
    this.#waitFor("the answer made no progress", this.#timeouts.idleMs);
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #waitFor(what: string, ms: number): void {
    this.#waitsFor = what;
    this.#waitMs = ms;
    this.#waitsSinceMs = this.#nowMs();
    this.resume();
    this.#arm();
  }

  #arm(): void {
    const endMs = Math.min(this.#waitsSinceMs + this.#waitMs, this.#startMs + this.#totalMs());
    if (this.#isOver || this.#timerEndMs <= endMs) return;
    clearTimeout(this.#timer);
    this.#timerEndMs = endMs;
    this.#timer = setTimeout(() => this.#check(), Math.ceil(endMs - this.#nowMs()));
  }

  #check(): void {
    this.#timerEndMs = Infinity;
    if (this.#pausedAtMs !== undefined) return;
    const nowMs = this.#nowMs();
    const totalMs = this.#totalMs();
    if (nowMs >= this.#startMs + totalMs) this.#end("the request was not over", totalMs);
    else if (nowMs < this.#waitsSinceMs + this.#waitMs) this.#arm();
    else this.#end(this.#waitsFor, this.#waitMs);
  }

  #nowMs(): number {
    return (this.#pausedAtMs ?? performance.now()) - this.#ownMs;
  }

  #totalMs(): number {
    const grownSeconds = Math.floor(this.#movedBytes / LOWEST_BYTES_PER_SECOND);
    return this.#timeouts.totalMs + grownSeconds * 1000;
  }

  #end(what: string, ms: number): void {
    this.#fail(new Error(`${what} within ${ms / 1000} s`));
  }
}
