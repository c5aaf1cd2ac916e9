import { FormatError, quote } from "./format-error.ts";
import { LONGEST, LONGEST_KEYWORD, LONGEST_TARGET, STEPS } from "./nar-grammar.ts";
import type { State } from "./nar-grammar.ts";

/** A regular file inside a NAR. */
export interface NarFile {
  readonly size: number;
  readonly executable: boolean;
  /** Where the first byte of the contents is, counted from the first byte of the NAR. */
  readonly narOffset: number;
}

/**
 * Events of {@link NarReader}, in the order of the NAR. An entry's name comes before its node; the
 * root has no name. Names and targets are copies, the visitor may keep them.
 */
export interface NarVisitor {
  directoryStart?(): void;
  directoryEnd?(): void;
  entry?(name: Uint8Array): void;
  fileStart?(file: NarFile): void;
  /** The next bytes of the contents; a view into the chunk written, valid during the call. */
  fileData?(bytes: Uint8Array): void;
  fileEnd?(): void;
  symlink?(target: Uint8Array): void;
}

export interface NarReaderOptions {
  /**
   * Nodes this deep are refused; the root is at depth 0. Nix has the same limit.
   *
   * @default {64}
   */
  readonly maxDepth?: number;
}

const ALIGNMENT = 8;
const DEFAULT_MAX_DEPTH = 64;
const DOT = 0x2e;
const SLASH = 0x2f;
const NOTHING: Uint8Array = new Uint8Array(0);

/**
 * Reads one NAR that is pushed in chunks of any size, and takes nothing but the strict form: exact
 * grammar, zero padding, entries in ascending byte order, names that are names, and nothing behind
 * the end. Memory is bounded: file contents pass through uncopied, and no other string is longer
 * than a symlink's target may be. After a failure it stays failed.
 */
export class NarReader {
  readonly #visitor: NarVisitor;
  readonly #maxDepth: number;
  /** The last name of each open directory; empty before the first, which no name is. */
  readonly #lastNames: Uint8Array[] = [];
  readonly #buffer: Uint8Array = new Uint8Array(LONGEST_TARGET + 1);
  #state: State = "magic";
  /** Every string is a length, then string and padding at once, or for contents data and padding. */
  #part: "length" | "string" | "data" | "padding" = "length";
  #partSize: number = ALIGNMENT;
  #partMissing: number = ALIGNMENT;
  /** Length and position of the current string. */
  #length = 0;
  #offset = 0;
  #executable = false;
  #bytesRead = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(visitor: NarVisitor = {}, options: NarReaderOptions = {}) {
    this.#visitor = visitor;
    this.#maxDepth = options.maxDepth ?? DEFAULT_MAX_DEPTH;
  }

  /** True if the NAR is complete. */
  get done(): boolean {
    return this.#state === "done";
  }

  /** How many bytes were accepted. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /**
   * Reads the next bytes.
   *
   * @throws {FormatError} If the bytes so far cannot begin a NAR, or follow its end.
   * @throws What the visitor throws.
   */
  write(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      for (let at = 0; at < chunk.length;) at += this.#take(chunk, at);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** @throws {FormatError} If the NAR is not complete. */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (!this.done) throw this.#broken("expected more, found the end");
  }

  /** Takes bytes that belong to the current part, and says how many. */
  #take(chunk: Uint8Array, at: number): number {
    if (this.#state === "done") throw this.#broken("expected the end, found more bytes");
    const taken = Math.min(chunk.length - at, this.#partMissing);
    const partAt = this.#partSize - this.#partMissing;
    this.#partMissing -= taken;
    this.#bytesRead += taken;
    if (this.#part === "data") {
      this.#visitor.fileData?.(chunk.subarray(at, at + taken));
      if (this.#partMissing === 0) this.#endData();
    } else if (taken === this.#partSize) {
      this.#endPart(chunk, at);
    } else {
      this.#buffer.set(chunk.subarray(at, at + taken), partAt);
      if (this.#partMissing === 0) this.#endPart(this.#buffer, 0);
    }
    return taken;
  }

  #begin(part: "length" | "string" | "data" | "padding", size: number): void {
    this.#part = part;
    this.#partSize = size;
    this.#partMissing = size;
  }

  /** The part that lies at `at` in `source` is whole. */
  #endPart(source: Uint8Array, at: number): void {
    if (this.#part === "length") {
      this.#beginString(this.#readLength(source, at));
      return;
    }
    const padding = this.#part === "string" ? this.#length : 0;
    for (let index = padding; index < this.#partSize; index++) {
      if (source[at + index] !== 0) throw this.#broken("expected padding to be zero");
    }
    if (this.#part === "string") this.#endString(source, at);
    else this.#endFile();
  }

  #readLength(source: Uint8Array, at: number): number {
    const low = readUint32(source, at);
    const length = readUint32(source, at + 4) * 2 ** 32 + low;
    if (!Number.isSafeInteger(length)) throw this.#broken("expected a length below 2^53");
    const limit = LONGEST[this.#state] ?? LONGEST_KEYWORD;
    if (length > limit) {
      throw this.#broken(`expected at most ${limit} bytes of ${this.#state}, found ${length}`);
    }
    return length;
  }

  #beginString(length: number): void {
    this.#length = length;
    if (this.#state === "contents") {
      const file = { size: length, executable: this.#executable, narOffset: this.#bytesRead };
      this.#visitor.fileStart?.(file);
      this.#begin("data", length);
      if (length === 0) this.#endFile();
    } else {
      this.#begin("string", length + paddingOf(length));
      if (length === 0) this.#endString(NOTHING, 0);
    }
  }

  #endData(): void {
    this.#begin("padding", paddingOf(this.#length));
    if (this.#partSize === 0) this.#endFile();
  }

  #endFile(): void {
    this.#visitor.fileEnd?.();
    this.#expect("close");
  }

  #endString(source: Uint8Array, at: number): void {
    const bytes = source.subarray(at, at + this.#length);
    // A copy, which Buffer's own slice() does not make.
    if (this.#state === "name") this.#name(new Uint8Array(bytes));
    else if (this.#state === "target") this.#target(new Uint8Array(bytes));
    else this.#keyword(bytes);
  }

  #keyword(found: Uint8Array): void {
    const state = this.#state;
    const step = STEPS[state].find(({ word }) => Buffer.compare(word, found) === 0);
    if (step === undefined) {
      const words = STEPS[state].map(({ word }) => quoteBytes(word)).join(" or ");
      throw this.#broken(`expected ${words}, found ${quoteBytes(found)}`);
    }
    if (state === "open" && this.#lastNames.length >= this.#maxDepth) {
      throw this.#broken(`expected at most ${this.#maxDepth} levels of folders`);
    }
    if (step.next === "up") {
      this.#up();
      return;
    }
    if (state === "kind" && step.next === "directory") {
      this.#lastNames.push(NOTHING);
      this.#visitor.directoryStart?.();
    }
    if (state === "kind" || state === "flag") this.#executable = state === "flag";
    this.#expect(step.next);
  }

  #up(): void {
    if (this.#state === "directory") {
      this.#lastNames.pop();
      this.#visitor.directoryEnd?.();
    }
    this.#expect(this.#lastNames.length === 0 ? "done" : "entry-close");
  }

  #name(name: Uint8Array): void {
    if (!isFileName(name)) throw this.#broken(`expected a file name, found ${quoteBytes(name)}`);
    const last = this.#lastNames.pop() ?? NOTHING;
    if (Buffer.compare(last, name) >= 0) {
      throw this.#broken(`expected a name after ${quoteBytes(last)}, found ${quoteBytes(name)}`);
    }
    this.#lastNames.push(name);
    this.#visitor.entry?.(name);
    this.#expect("node-key");
  }

  #target(target: Uint8Array): void {
    if (target.length === 0 || target.includes(0)) {
      throw this.#broken(`expected a symlink target, found ${quoteBytes(target)}`);
    }
    this.#visitor.symlink?.(target);
    this.#expect("close");
  }

  #expect(state: State): void {
    this.#state = state;
    this.#offset = this.#bytesRead;
    this.#begin("length", ALIGNMENT);
  }

  #broken(rule: string): FormatError {
    return new FormatError("nar", `NAR is broken at byte ${this.#offset}: ${rule}`);
  }
}

/** A single folder entry: not empty, not the folder itself or its parent, no slash, no zero byte. */
function isFileName(name: Uint8Array): boolean {
  const isDots = name.length <= 2 && name.every((byte) => byte === DOT);
  return !isDots && !name.includes(SLASH) && !name.includes(0);
}

function readUint32(source: Uint8Array, at: number): number {
  const [a, b, c, d] = [source[at], source[at + 1], source[at + 2], source[at + 3]];
  return ((a ?? 0) | ((b ?? 0) << 8) | ((c ?? 0) << 16) | ((d ?? 0) << 24)) >>> 0;
}

function paddingOf(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}

function quoteBytes(bytes: Uint8Array): string {
  return quote(Buffer.from(bytes).toString());
}
