import { HandpickError } from "../error.ts";

/** The next step after a daemon failed. */
export const DAEMON_HINT = "See the log of the nix-daemon service.";

const WORD = 8;
const TWO_POW_32 = 2 ** 32;
const ZEROS = Buffer.alloc(WORD);

/** Collects one request in the encoding of Nix's daemon: 8-byte words, padded strings. */
export class WireWriter {
  readonly #chunks: Buffer[] = [];

  /** Appends an unsigned integer, which also stands for booleans and enumerations. */
  int(value: number): this {
    const word = Buffer.alloc(WORD);
    word.writeBigUInt64LE(BigInt(value));
    this.#chunks.push(word);
    return this;
  }

  string(text: string): this {
    const bytes = Buffer.from(text);
    this.int(bytes.length);
    this.#chunks.push(bytes, ZEROS.subarray(0, paddingOf(bytes.length)));
    return this;
  }

  strings(texts: readonly string[]): this {
    this.int(texts.length);
    for (const text of texts) this.string(text);
    return this;
  }

  toBytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

/**
 * Reads the same encoding from a stream nobody vouches for: every length is checked against a cap
 * before memory is set aside for it.
 */
export class WireReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #buffer: Buffer = ZEROS.subarray(0, 0);
  #bytesRead = 0;
  #ended = false;

  constructor(chunks: AsyncIterator<Buffer>) {
    this.#chunks = chunks;
  }

  /** Bytes the other side has sent so far, as far as they were looked at. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** True if the end of the stream was met while more was wanted. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * @throws {HandpickError} `STORE_PROTOCOL` if the integer is beyond 2^53, `STORE_FAILED` if the
   *   stream ends.
   */
  async int(): Promise<number> {
    const word = await this.#take(WORD);
    const value = word.readUInt32LE(4) * TWO_POW_32 + word.readUInt32LE(0);
    if (!Number.isSafeInteger(value)) {
      throw protocolError(`expected an integer below 2^53, found 0x${word.toString("hex")}`);
    }
    return value;
  }

  /** Reads an integer that has to be 0 or 1. */
  async bool(): Promise<boolean> {
    return (await this.count(1)) === 1;
  }

  /** Reads an integer of at most `max`. */
  async count(max: number): Promise<number> {
    const value = await this.int();
    if (value > max) throw protocolError(`expected at most ${max}, found ${value}`);
    return value;
  }

  /** Passes over an opaque word, such as the 64-bit identifier of an activity. */
  async skipWord(): Promise<void> {
    await this.#take(WORD);
  }

  /** Reads a string of at most `maxBytes` bytes. */
  async string(maxBytes: number, encoding: "latin1" | "utf8" = "latin1"): Promise<string> {
    const length = await this.count(maxBytes);
    const padding = paddingOf(length);
    const bytes = await this.#take(length + padding);
    if (padding > 0 && !bytes.subarray(length).equals(ZEROS.subarray(0, padding))) {
      throw protocolError("expected zero bytes after a string, found others");
    }
    return bytes.toString(encoding, 0, length);
  }

  /** Reads a list of at most `maxCount` strings. */
  async strings(maxCount: number, maxBytes: number): Promise<string[]> {
    const count = await this.count(maxCount);
    const texts: string[] = [];
    while (texts.length < count) texts.push(await this.string(maxBytes));
    return texts;
  }

  async #take(size: number): Promise<Buffer> {
    if (this.#buffer.length < size) await this.#fill(size);
    const bytes = this.#buffer.subarray(0, size);
    this.#buffer = this.#buffer.subarray(size);
    return bytes;
  }

  async #fill(size: number): Promise<void> {
    const chunks = [this.#buffer];
    for (let available = this.#buffer.length; available < size;) {
      const { value, done } = await this.#chunks.next();
      if (done === true) {
        this.#ended = true;
        throw new HandpickError(
          "STORE_FAILED",
          `Cannot read from the Nix daemon: it ended the connection ${size - available} bytes early`,
          { hint: DAEMON_HINT },
        );
      }
      chunks.push(value);
      available += value.length;
      this.#bytesRead += value.length;
    }
    this.#buffer = Buffer.concat(chunks);
  }
}

/** The error for bytes that break the protocol; `problem` says what was expected and found. */
export function protocolError(problem: string, options?: ErrorOptions): HandpickError {
  return new HandpickError("STORE_PROTOCOL", `Cannot understand the Nix daemon: ${problem}`, {
    ...options,
    hint: "Check that a Nix daemon listens on that socket, or go without it: --store local.",
  });
}

function paddingOf(length: number): number {
  return (WORD - (length % WORD)) % WORD;
}
