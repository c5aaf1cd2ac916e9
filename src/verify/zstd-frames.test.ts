import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, zstdCompressSync } from "node:zlib";

import * as fc from "fast-check";

import { cutAtFrames } from "./zstd-frames.ts";

const contents = fc.oneof(
  fc.uint8Array({ maxLength: 2000 }),
  fc.tuple(fc.nat(255), fc.nat(300_000)).map(([byte, size]) => Buffer.alloc(size, byte)),
);
const frame = fc
  .tuple(contents, fc.nat(1))
  .map(([bytes, checksum]) =>
    zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: checksum } }),
  );
const skippable = fc.tuple(fc.nat(15), fc.uint8Array({ maxLength: 300 })).map(([kind, bytes]) => {
  const header = Buffer.from([0x50 + kind, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  header.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
});

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The places where pieces end. */
async function endsOf(bytes: Uint8Array, size: number): Promise<{ ends: number[]; all: Buffer }> {
  const pieces: Uint8Array[] = [];
  for await (const piece of cutAtFrames(inChunks(bytes, size))) pieces.push(piece);
  let end = 0;
  const ends = pieces.map(({ length }) => (end += length));
  return { ends, all: Buffer.concat(pieces) };
}

const chunkSize = fc.integer({ min: 1, max: 5000 });

describe("cutAtFrames()", () => {
  it("cuts where a frame ends, and otherwise where chunks end", async () => {
    const file = fc.array(fc.oneof(frame, skippable), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(file, chunkSize, async (frames, size) => {
        const bytes = Buffer.concat(frames);
        let end = 0;
        const expected = new Set(frames.map(({ length }) => (end += length)));
        for (let at = size; at < bytes.length; at += size) expected.add(at);
        const { ends, all } = await endsOf(bytes, size);
        assert.deepEqual(
          ends,
          [...expected].toSorted((a, b) => a - b),
        );
        assert.ok(all.equals(bytes));
      }),
      { numRuns: 60 },
    );
  });

  it("lets pass what is none", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), chunkSize, async (bytes, size) => {
        assert.ok((await endsOf(bytes, size)).all.equals(bytes));
      }),
    );
  });
});
