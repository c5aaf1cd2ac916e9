import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

import * as fc from "fast-check";

import { oneZstdFrame } from "./zstd-frame.ts";

async function walk(bytes: Uint8Array, chunkSize: number): Promise<Buffer> {
  const chunks = (async function* () {
    for (let offset = 0; offset < bytes.length; offset += chunkSize) {
      yield bytes.subarray(offset, offset + chunkSize);
    }
  })();
  const out: Uint8Array[] = [];
  for await (const chunk of oneZstdFrame(chunks)) out.push(chunk);
  return Buffer.concat(out);
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

describe("oneZstdFrame()", () => {
  it("passes any single frame through, in chunks of any size", async () => {
    const chunkSize = fc.integer({ min: 1, max: 5000 });
    await fc.assert(
      fc.asyncProperty(
        contents,
        fc.record({ level: fc.integer({ min: 1, max: 19 }), checksum: fc.nat(1) }),
        chunkSize,
        async (bytes, options, size) => {
          const compressed = frame(bytes, options);
          assert.deepEqual(await walk(compressed, size), compressed);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses anything after the frame, in chunks of any size", async () => {
    const chunkSize = fc.integer({ min: 1, max: 5000 });
    const rest = fc.uint8Array({ minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        contents,
        fc.record({ after: rest, checksum: fc.nat(1) }),
        chunkSize,
        async (bytes, { after, checksum }, size) => {
          const compressed = Buffer.concat([frame(bytes, { level: 3, checksum }), after]);
          await assert.rejects(walk(compressed, size), { status: 400, message: /after the end/ });
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses a second frame, which a decompressor would take or not by chunks", async () => {
    const one = frame(Buffer.from("one"), { level: 3, checksum: 0 });
    assert.equal(zstdDecompressSync(one).toString(), "one");
    await assert.rejects(walk(Buffer.concat([one, one]), one.length), { status: 400 });
  });

  it("walks the blocks of a big frame that cannot be compressed", async () => {
    const bytes = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * i * 31) >> 3));
    const compressed = frame(bytes, { level: 1, checksum: 1 });
    assert.equal((await walk(compressed, 65_536)).length, compressed.length);
  });

  it("refuses other formats, skippable frames and dictionaries", async () => {
    const withDictionary = Buffer.from("28b52ffd2100000000", "hex");
    const skippable = Buffer.from("502a4d180400000001020304", "hex");
    for (const bytes of [Buffer.from("hello world"), skippable, withDictionary]) {
      await assert.rejects(walk(bytes, 3), { status: 400, message: /does not start/ });
    }
  });
});
