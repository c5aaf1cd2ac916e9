import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

import * as fc from "fast-check";

import { ZstdFrameWalk } from "./zstd-frame.ts";

/** Returns true if the frame is complete. */
function walk(bytes: Uint8Array, chunkSize: number): boolean {
  const frameWalk = new ZstdFrameWalk();
  for (let offset = 0; offset < bytes.length; offset += chunkSize) {
    frameWalk.write(bytes.subarray(offset, offset + chunkSize));
  }
  return frameWalk.isEnded;
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

describe("ZstdFrameWalk", () => {
  it("follows any single frame to its end and no further, in chunks of any size", () => {
    const chunkSize = fc.integer({ min: 1, max: 5000 });
    fc.assert(
      fc.property(
        contents,
        fc.record({ level: fc.integer({ min: 1, max: 19 }), checksum: fc.nat(1) }),
        chunkSize,
        (bytes, options, size) => {
          const compressed = frame(bytes, options);
          assert.equal(walk(compressed, size), true);
          assert.equal(walk(compressed.subarray(0, -1), size), false);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses anything after the frame, in chunks of any size", () => {
    const chunkSize = fc.integer({ min: 1, max: 5000 });
    const rest = fc.uint8Array({ minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(
        contents,
        fc.record({ after: rest, checksum: fc.nat(1) }),
        chunkSize,
        (bytes, { after, checksum }, size) => {
          const compressed = Buffer.concat([frame(bytes, { level: 3, checksum }), after]);
          assert.throws(() => walk(compressed, size), { status: 400, message: /after the end/ });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses a second frame, which a decompressor would take or not by chunks", () => {
    const one = frame(Buffer.from("one"), { level: 3, checksum: 0 });
    assert.equal(zstdDecompressSync(one).toString(), "one");
    assert.throws(() => walk(Buffer.concat([one, one]), one.length), { status: 400 });
  });

  it("walks the blocks of a big frame that cannot be compressed", () => {
    const bytes = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * i * 31) >> 3));
    const compressed = frame(bytes, { level: 1, checksum: 1 });
    assert.equal(walk(compressed, 65_536), true);
  });

  it("refuses other formats, skippable frames and dictionaries", () => {
    const withDictionary = Buffer.from("28b52ffd2100000000", "hex");
    const skippable = Buffer.from("502a4d180400000001020304", "hex");
    for (const bytes of [Buffer.from("hello world"), skippable, withDictionary]) {
      assert.throws(() => walk(bytes, 3), { status: 400, message: /does not start/ });
    }
  });
});
