/** One slice of a packed path. */
export interface PackedPart {
  /** From 1. */
  readonly number: number;
  /** Where in the file it begins, in bytes. */
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** MD5 of the bytes, base64; empty if it was not asked for. */
  readonly md5: string;
  /** NAR bytes that this part stands for; over all parts, the size of the NAR. */
  readonly narBytes: number;
  /** SHA-256, in hex, of the file up to the end of this part. */
  readonly hashSoFar: string;
  /** True for the end of the file. */
  readonly isLast: boolean;
}

/** Takes a part; its memory is used again once the promise settles. */
export type OnPart = (part: PackedPart, signal: AbortSignal) => Promise<void>;

/** The parts of one path on their way. The first that fails stops the others. */
export class PartSends {
  /** Aborted by the first part that fails. */
  readonly signal: AbortSignal;
  readonly #onPart: OnPart;
  readonly #failed = new AbortController();
  readonly #sends: Promise<void>[] = [];
  #sent: Omit<PackedPart, "bytes"> | undefined;

  constructor(onPart: OnPart, signal: AbortSignal) {
    this.#onPart = onPart;
    this.signal = AbortSignal.any([signal, this.#failed.signal]);
  }

  /** The last part that was sent, or is on its way. */
  get sent(): Omit<PackedPart, "bytes"> | undefined {
    return this.#sent;
  }

  /** @param onSettled Called when the memory of the part is free again. */
  send(part: PackedPart, onSettled: () => void): void {
    const { bytes: _, ...rest } = part;
    this.#sent = rest;
    const sent = this.#onPart(part, this.signal).finally(onSettled);
    this.#sends.push(sent);
    sent.catch((error: unknown) => this.#failed.abort(error));
  }

  /**
   * Runs what makes the parts, and waits for them: they may be under way when it is done.
   *
   * @throws The error of `task`, or of the first part that failed.
   */
  async settle<T>(task: () => Promise<T>): Promise<T> {
    try {
      const result = await task();
      await Promise.all(this.#sends);
      return result;
    } catch (error) {
      this.#failed.abort(error);
      await Promise.allSettled(this.#sends);
      throw error;
    }
  }
}
