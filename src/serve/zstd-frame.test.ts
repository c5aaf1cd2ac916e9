import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, zstdCompressSync } from "node:zlib";

import * as fc from "fast-check";

import { zstdFrames } from "./zstd-frame.ts";

async function walk(bytes: Uint8Array, chunkSize: number): Promise<Buffer[]> {
  const chunks = (async function* () {
    for (let offset = 0; offset < bytes.length; offset += chunkSize) {
      yield bytes.subarray(offset, offset + chunkSize);
    }
  })();
  const frames: Buffer[] = [];
  for await (const frame of zstdFrames(chunks)) {
    const out: Uint8Array[] = [];
    for await (const piece of frame) out.push(piece);
    frames.push(Buffer.concat(out));
  }
  return frames;
}

interface FrameOptions {
  readonly level: number;
  readonly checksum: number;
}

function frame(contents: Uint8Array, { level, checksum }: FrameOptions): Buffer {
  return zstdCompressSync(contents, {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: checksum,
    },
  });
}

const contents = fc.oneof(
  fc.uint8Array({ maxLength: 2000 }),
  fc.tuple(fc.nat(255), fc.nat(300_000)).map(([byte, size]) => Buffer.alloc(size, byte)),
);

const options = fc.record({ level: fc.integer({ min: 1, max: 19 }), checksum: fc.nat(1) });
const chunkSize = fc.integer({ min: 1, max: 5000 });

describe("zstdFrames()", () => {
  it("finds all frames, in chunks of any size", async () => {
    const frames = fc.array(fc.tuple(contents, options), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(frames, chunkSize, async (specified, size) => {
        const expected = specified.map(([bytes, how]) => frame(bytes, how));
        assert.deepEqual(await walk(Buffer.concat(expected), size), expected);
      }),
      { numRuns: 60 },
    );
  });

  it("refuses anything else after a frame, in chunks of any size", async () => {
    const rest = fc.uint8Array({ minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        contents,
        options,
        fc.tuple(rest, chunkSize),
        async (bytes, how, [after, size]) => {
          const file = Buffer.concat([frame(bytes, how), after]);
          await assert.rejects(walk(file, size), { status: 400 });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses a file that ends within a frame, and one without any", async () => {
    const one = frame(Buffer.from("one"), { level: 3, checksum: 1 });
    for (let size = 0; size < one.length; size += 1) {
      await assert.rejects(walk(one.subarray(0, size), 4), { status: 400, message: /ends within/ });
    }
  });

  it("walks the blocks of a big frame that cannot be compressed", async () => {
    const bytes = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * i * 31) >> 3));
    const compressed = frame(bytes, { level: 1, checksum: 1 });
    assert.deepEqual(await walk(compressed, 65_536), [compressed]);
  });

  it("refuses other formats, skippable frames and dictionaries", async () => {
    const withDictionary = Buffer.from("28b52ffd2100000000", "hex");
    const skippable = Buffer.from("502a4d180400000001020304", "hex");
    for (const bytes of [Buffer.from("hello world"), skippable, withDictionary]) {
      await assert.rejects(walk(bytes, 3), { status: 400, message: /other than zstd/ });
    }
  });
});
