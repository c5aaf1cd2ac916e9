import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, valueOrRefusal } from "../../test/fuzz.ts";
import { base32Length, decodeBase32, encodeBase32 } from "./base32.ts";
import { FormatError } from "./format-error.ts";

const refused = (rule: RegExp): object => ({
  name: "FormatError",
  format: "base32",
  message: rule,
});

describe("encodeBase32()", () => {
  it("puts the highest bits first and ends with the lowest", () => {
    assert.equal(encodeBase32(Uint8Array.of(1)), "01");
    assert.equal(encodeBase32(Uint8Array.of(255)), "7z");
    assert.equal(encodeBase32(Uint8Array.of(0, 255)), "1zq0");
    assert.equal(encodeBase32(new Uint8Array()), "");
  });

  it("gives the length that base32Length() says", () => {
    for (const [size, length] of [
      [16, 26],
      [20, 32],
      [32, 52],
      [64, 103],
    ] as const) {
      assert.equal(base32Length(size), length);
      assert.equal(encodeBase32(new Uint8Array(size)).length, length);
    }
  });
});

describe("decodeBase32()", () => {
  it("inverts encodeBase32() for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        assert.deepEqual(decodeBase32(encodeBase32(bytes), bytes.length), bytes);
        assert.deepEqual(decodeBase32(encodeBase32(bytes)), bytes);
      }),
    );
  });

  it("refuses or is inverted by encodeBase32() for any text", () => {
    const unit = fc.constantFrom(
      ...Array.from("0123456789abcdfghijklmnpqrsvwxyzeout=Z\0é\u{1f4a9}"),
    );
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), (text) => {
        const bytes = valueOrRefusal("FormatError", () => decodeBase32(text));
        if (bytes !== undefined) assert.equal(encodeBase32(bytes), text);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  for (const character of ["e", "o", "u", "t", "A", "=", "\0", "é", "\u{1f4a9}".charAt(0)]) {
    it(`refuses ${JSON.stringify(character)}, which the alphabet lacks`, () => {
      assert.throws(() => decodeBase32(`0${character}`), refused(/has no character/));
    });
  }

  it("refuses a length that no bytes have, and one that was not asked for", () => {
    assert.throws(() => decodeBase32("000"), refused(/found 3/));
    assert.throws(() => decodeBase32("00", 20), refused(/20 bytes are 32/));
  });

  it("refuses bits beyond the last byte", () => {
    assert.deepEqual(decodeBase32("7z"), Uint8Array.of(255));
    assert.throws(() => decodeBase32("80"), refused(/sets bits beyond 1 bytes/));
    assert.throws(() => decodeBase32(`2${"0".repeat(51)}`, 32), FormatError);
  });
});
