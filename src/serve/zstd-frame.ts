import { FrameWalk } from "../zstd-frames.ts";
import { refusal } from "./refusal.ts";

/**
 * Follows the bytes of one zstd frame and refuses anything before or behind it.
 *
 * `node:zlib` stops silently after the first frame if the rest came in the same chunk, while
 * readers decompress all of it, so what a decompressor saw says nothing about what is behind it.
 */
export class ZstdFrameWalk {
  readonly #walk = new FrameWalk(({ kind, hasDictionary }) => {
    if (kind === "data" && !hasDictionary) return;
    throw refusal(400, "The file does not start with a zstd frame without dictionary");
  });
  #isBegun = false;

  /** True if the frame is complete. */
  get isEnded(): boolean {
    return this.#isBegun && this.#walk.isBetweenFrames;
  }

  /** @throws {HTTPException} 400 if the bytes so far do not begin one frame without dictionary. */
  write(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    const taken = this.isEnded ? 0 : this.#walk.take(chunk);
    this.#isBegun = true;
    if (taken === chunk.length) return;
    throw refusal(400, "The file has bytes after the end of its zstd frame");
  }
}
