/** A range of a file. */
export interface Extent {
  /** In bytes from the start of the file. */
  readonly start: number;
  /** Whole pages. */
  readonly sizeBytes: number;
}

const PAGE_BYTES = 4096;

/**
 * Shares out a file of limited size, the lowest free range first: a file whose extents are given back
 * soon stays small, and the same pages of memory hold it.
 */
export class Extents {
  #limit: number;
  /** Behind the last extent that is out. */
  #end = 0;
  /** Free ranges before the end, in order, none next to another. */
  readonly #gaps: Extent[] = [];

  /** @param limitBytes The end of the last extent at most. */
  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get limitBytes(): number {
    return this.#limit;
  }

  /** Gives out nothing from this place on. */
  lower(limitBytes: number): void {
    this.#limit = Math.min(this.#limit, limitBytes);
  }

  /** Returns undefined if there is no room. */
  take(bytes: number): Extent | undefined {
    const sizeBytes = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    const at = this.#gaps.findIndex((gap) => gap.sizeBytes >= sizeBytes);
    const gap = this.#gaps[at];
    const start = gap?.start ?? this.#end;
    if (start + sizeBytes > this.#limit) return undefined;
    if (gap === undefined) this.#end += sizeBytes;
    else {
      const rest = { start: start + sizeBytes, sizeBytes: gap.sizeBytes - sizeBytes };
      this.#gaps.splice(at, 1, ...(rest.sizeBytes > 0 ? [rest] : []));
    }
    return { start, sizeBytes };
  }

  /** Takes back an extent, each once. */
  give({ start, sizeBytes }: Extent): void {
    const gaps = this.#gaps;
    const behind = gaps.findIndex((gap) => gap.start > start);
    const at = behind === -1 ? gaps.length : behind;
    const [before, after] = [gaps[at - 1], gaps[at]];
    const joinsBefore = before !== undefined && before.start + before.sizeBytes === start;
    const joinsAfter = after !== undefined && start + sizeBytes === after.start;
    const from = joinsBefore ? before.start : start;
    const to = start + sizeBytes + (joinsAfter ? after.sizeBytes : 0);
    const joined = { start: from, sizeBytes: to - from };
    const removed = Number(joinsBefore) + Number(joinsAfter);
    gaps.splice(joinsBefore ? at - 1 : at, removed, ...(to === this.#end ? [] : [joined]));
    if (to === this.#end) this.#end = from;
  }
}
