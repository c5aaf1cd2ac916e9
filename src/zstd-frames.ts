const MAGIC = 0xfd2fb528;
/** Frames for other programs begin with one of 16 numbers, and then say their size. */
const SKIPPABLE_MAGIC = 0x184d2a50;
const START_BYTES = 5;
const SKIPPABLE_START_BYTES = 8;
const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

/** What begins: a frame with data, one for other programs, or nothing of zstd's. */
export interface FrameStart {
  readonly kind: "data" | "skippable" | "none";
  readonly hasDictionary: boolean;
}

/**
 * Walks the frames of a zstd file by their block headers (RFC 8878, 3.1.1), and looks into no block. After bytes that
 * begin no frame, all that follows is skipped.
 *
 *     start --> block header --> its bytes --> block header … --> checksum --> start
 */
export class FrameWalk {
  readonly #onStart: (start: FrameStart) => void;
  readonly #header: number[] = [];
  #wanted = START_BYTES;
  #state: "start" | "blocks" | "last" | "lost" = "start";
  #skipBytes = 0;
  #hasChecksum = false;

  /** @param onStart Told what begins; what it throws ends `take()`. */
  constructor(onStart: (start: FrameStart) => void = () => undefined) {
    this.#onStart = onStart;
  }

  /** Takes `bytes` up to the end of a frame, and returns how many these are: all, if none ends there. */
  take(bytes: Uint8Array): number {
    if (this.#state === "lost") return bytes.length;
    let offset = 0;
    while (offset < bytes.length) {
      if (this.#skipBytes > 0) {
        const skipped = Math.min(this.#skipBytes, bytes.length - offset);
        this.#skipBytes -= skipped;
        offset += skipped;
      } else {
        this.#headerByte(bytes[offset] ?? 0);
        offset += 1;
      }
      if (this.#endsFrame()) return offset;
    }
    return offset;
  }

  /** True between two frames, and before the first. */
  get isBetweenFrames(): boolean {
    return this.#state === "start" && this.#header.length === 0;
  }

  #endsFrame(): boolean {
    if (this.#state !== "last" || this.#skipBytes > 0) return false;
    this.#state = "start";
    this.#wanted = START_BYTES;
    return true;
  }

  #headerByte(byte: number): void {
    if (this.#state === "lost") return;
    this.#header.push(byte);
    if (this.#header.length < this.#wanted) return;
    const bytes = Buffer.from(this.#header);
    if (this.#state === "start") this.#start(bytes);
    else this.#startBlock(bytes.readUIntLE(0, BLOCK_HEADER_BYTES));
    if (this.#header.length === this.#wanted) this.#header.length = 0;
    if (this.#state === "blocks") this.#wanted = BLOCK_HEADER_BYTES;
  }

  #start(bytes: Buffer): void {
    const magic = bytes.readUInt32LE(0);
    if (magic === MAGIC) this.#startFrame(bytes.readUInt8(4));
    else if (magic - (magic % 16) !== SKIPPABLE_MAGIC) {
      this.#onStart({ kind: "none", hasDictionary: false });
      this.#state = "lost";
    } else if (bytes.length < SKIPPABLE_START_BYTES) {
      this.#onStart({ kind: "skippable", hasDictionary: false });
      this.#wanted = SKIPPABLE_START_BYTES;
    } else {
      this.#skipBytes = bytes.readUInt32LE(4);
      this.#state = "last";
    }
  }

  #startFrame(descriptor: number): void {
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const contentSizeBytes = CONTENT_SIZE_BYTES[descriptor >> 6] ?? 0;
    const dictionaryIdBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
    this.#onStart({ kind: "data", hasDictionary: dictionaryIdBytes > 0 });
    this.#hasChecksum = (descriptor & 4) !== 0;
    // A single segment has no window byte, and then at least one byte of content size.
    this.#skipBytes = isSingleSegment ? Math.max(contentSizeBytes, 1) : 1 + contentSizeBytes;
    this.#skipBytes += dictionaryIdBytes;
    this.#state = "blocks";
  }

  #startBlock(header: number): void {
    const isLast = (header & 1) !== 0;
    this.#skipBytes = ((header >> 1) & 3) === RLE_BLOCK ? 1 : header >> 3;
    if (!isLast) return;
    if (this.#hasChecksum) this.#skipBytes += CHECKSUM_BYTES;
    this.#state = "last";
  }
}
