import { refusal } from "./refusal.ts";

const MAGIC_AND_DESCRIPTOR_BYTES = 5;
const MAGIC = 0xfd2fb528;
const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

/**
 * Follows the bytes of one zstd frame and refuses anything before or behind it.
 *
 * `node:zlib` stops silently after the first frame if the rest came in the same chunk, while
 * readers decompress all of it, so what a decompressor saw says nothing about what is behind it.
 * Frames are walked by their block headers (RFC 8878, 3.1.1); the blocks are not looked into.
 *
 *     start --> block header --> skipping --> block header … --> skipping the checksum --> end
 */
export class ZstdFrameWalk {
  readonly #header: number[] = [];
  #state: "start" | "blocks" | "end" = "start";
  #skipBytes = 0;
  #hasChecksum = false;

  /** True if the frame is complete. */
  get isEnded(): boolean {
    return this.#state === "end" && this.#skipBytes === 0;
  }

  /** @throws {HTTPException} 400 if the bytes so far do not begin one frame without dictionary. */
  write(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#skipBytes > 0) {
        const skipped = Math.min(this.#skipBytes, chunk.length - offset);
        this.#skipBytes -= skipped;
        offset += skipped;
      } else {
        this.#headerByte(chunk[offset] ?? 0);
        offset += 1;
      }
    }
  }

  #headerByte(byte: number): void {
    if (this.#state === "end") {
      throw refusal(400, "The file has bytes after the end of its zstd frame");
    }
    this.#header.push(byte);
    const wanted = this.#state === "start" ? MAGIC_AND_DESCRIPTOR_BYTES : BLOCK_HEADER_BYTES;
    if (this.#header.length < wanted) return;
    const bytes = Buffer.from(this.#header.splice(0));
    if (this.#state === "start") this.#startFrame(bytes);
    else this.#startBlock(bytes.readUIntLE(0, BLOCK_HEADER_BYTES));
  }

  #startFrame(bytes: Buffer): void {
    const descriptor = bytes.readUInt8(4);
    const dictionaryIdBytes = DICTIONARY_ID_BYTES[descriptor & 3] ?? 0;
    if (bytes.readUInt32LE(0) !== MAGIC || dictionaryIdBytes > 0) {
      throw refusal(400, "The file does not start with a zstd frame without dictionary");
    }
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const contentSizeBytes = CONTENT_SIZE_BYTES[descriptor >> 6] ?? 0;
    this.#hasChecksum = (descriptor & 4) !== 0;
    // A single segment has no window byte, and then at least one byte of content size.
    this.#skipBytes = isSingleSegment ? Math.max(contentSizeBytes, 1) : 1 + contentSizeBytes;
    this.#state = "blocks";
  }

  #startBlock(header: number): void {
    const isLast = (header & 1) !== 0;
    const size = header >> 3;
    this.#skipBytes = ((header >> 1) & 3) === RLE_BLOCK ? 1 : size;
    if (!isLast) return;
    if (this.#hasChecksum) this.#skipBytes += CHECKSUM_BYTES;
    this.#state = "end";
  }
}
