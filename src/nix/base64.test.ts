import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { decodeBase64, encodeBase64 } from "./base64.ts";

describe("decodeBase64()", () => {
  it("inverts encodeBase64() for any bytes, also inside a larger buffer", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.nat(3), (bytes, start) => {
        const view = bytes.subarray(start);
        assert.deepEqual(decodeBase64(encodeBase64(view)), new Uint8Array(view));
      }),
    );
  });

  for (const text of ["A", "AA", "AA=", "AB==", "AA==\n", " AA==", "A-_=", "AAA", "é"]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(decodeBase64(text), undefined);
    });
  }
});
