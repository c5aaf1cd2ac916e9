import { FrameWalk } from "../zstd-frames.ts";

/**
 * Cuts the bytes of a zstd file where a frame ends. `node:zlib` silently leaves out what follows a frame in the same
 * chunk, and goes on with a frame that begins a chunk; Attic serves a frame for each of its chunks.
 */
export async function* cutAtFrames(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const walk = new FrameWalk();
  for await (const chunk of bytes) {
    for (let start = 0; start < chunk.length;) {
      const end = start + walk.take(chunk.subarray(start));
      yield chunk.subarray(start, end);
      start = end;
    }
  }
}
