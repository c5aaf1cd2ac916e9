import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { WireReader, WireWriter } from "./wire.ts";

function readerOf(bytes: Buffer, chunkSize = bytes.length || 1): WireReader {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += chunkSize)
    chunks.push(bytes.subarray(at, at + chunkSize));
  return new WireReader(
    (async function* () {
      yield* chunks;
    })(),
  );
}

const words = (...values: bigint[]): Buffer =>
  Buffer.concat(
    values.map((value) => {
      const word = Buffer.alloc(8);
      word.writeBigUInt64LE(value);
      return word;
    }),
  );

describe("WireWriter", () => {
  it("writes integers as 8 bytes, least significant first", () => {
    assert.equal(new WireWriter().int(0x0102).toBytes().toString("hex"), "0201000000000000");
  });

  it("pads strings with zeros to a multiple of 8", () => {
    assert.deepEqual(
      new WireWriter().string("abc").toBytes(),
      Buffer.concat([words(3n), Buffer.from("abc\0\0\0\0\0")]),
    );
    assert.equal(new WireWriter().string("12345678").toBytes().length, 16);
    assert.equal(new WireWriter().string("").toBytes().length, 8);
  });
});

describe("WireReader", () => {
  it("reads what WireWriter writes, whatever the chunks", async () => {
    const ascii = fc.string({ unit: "binary-ascii", maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          number: fc.maxSafeNat(),
          text: ascii,
          texts: fc.array(ascii, { maxLength: 5 }),
          chunkSize: fc.integer({ min: 1, max: 70 }),
        }),
        async ({ number, text, texts, chunkSize }) => {
          const writer = new WireWriter().int(number).string(text).strings(texts).int(1);
          const reader = readerOf(writer.toBytes(), chunkSize);
          assert.equal(await reader.int(), number);
          assert.equal(await reader.string(40), text);
          assert.deepEqual(await reader.strings(5, 40), texts);
          assert.equal(await reader.bool(), true);
          assert.equal(reader.bytesRead, writer.toBytes().length);
          assert.equal(reader.ended, false);
        },
      ),
    );
  });

  it("refuses integers beyond 2^53", async () => {
    await assert.rejects(readerOf(words(2n ** 53n)).int(), { code: "STORE_PROTOCOL" });
    assert.equal(await readerOf(words(2n ** 53n - 1n)).int(), Number.MAX_SAFE_INTEGER);
  });

  it("passes over words of any value", async () => {
    const reader = readerOf(words(2n ** 64n - 1n, 7n));
    await reader.skipWord();
    assert.equal(await reader.int(), 7);
  });

  it("refuses a length above its cap before any of the bytes is there", async () => {
    await assert.rejects(readerOf(words(41n)).string(40), { code: "STORE_PROTOCOL" });
    await assert.rejects(readerOf(words(2n ** 40n)).strings(9, 9), { code: "STORE_PROTOCOL" });
  });

  it("refuses booleans other than 0 and 1", async () => {
    await assert.rejects(readerOf(words(2n)).bool(), { code: "STORE_PROTOCOL" });
  });

  it("refuses padding that is not zero", async () => {
    const bytes = Buffer.concat([words(3n), Buffer.from("abc\0\0\0\0x")]);
    await assert.rejects(readerOf(bytes).string(40), { code: "STORE_PROTOCOL" });
  });

  it("tells the end of the stream from a broken one", async () => {
    const reader = readerOf(words(3n).subarray(0, 5));
    await assert.rejects(reader.int(), { code: "STORE_FAILED", message: /3 bytes early/ });
    assert.equal(reader.ended, true);
  });
});
