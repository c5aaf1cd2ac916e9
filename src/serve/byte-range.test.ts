import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { parseByteRange } from "./byte-range.ts";

describe("parseByteRange()", () => {
  const cases: readonly [string | undefined, ReturnType<typeof parseByteRange>][] = [
    [undefined, undefined],
    ["bytes=0-0", { start: 0, end: 0 }],
    ["bytes=2-5", { start: 2, end: 5 }],
    ["bytes=2-", { start: 2, end: 9 }],
    ["bytes=2-99", { start: 2, end: 9 }],
    ["bytes=-3", { start: 7, end: 9 }],
    ["bytes=-99", { start: 0, end: 9 }],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=10-", "unsatisfiable"],
    ["bytes=10-20", "unsatisfiable"],
    ["bytes=5-2", undefined],
    ["bytes=-", undefined],
    ["bytes=0-1,4-5", undefined],
    ["lines=0-1", undefined],
    ["bytes=9999999999999999-", undefined],
  ];
  for (const [header, expected] of cases) {
    it(`reads ${JSON.stringify(header)} of a file of 10 bytes`, () => {
      assert.deepEqual(parseByteRange(header, 10), expected);
    });
  }

  it("finds nothing in an empty file", () => {
    assert.equal(parseByteRange("bytes=-1", 0), "unsatisfiable");
    assert.equal(parseByteRange("bytes=0-", 0), "unsatisfiable");
  });

  it("stays inside the file for any header", () => {
    const header = fc.oneof(fc.string(), fc.stringMatching(/^bytes=\d{0,4}-\d{0,4}$/));
    fc.assert(
      fc.property(header, fc.nat(500), (text, sizeBytes) => {
        const range = parseByteRange(text, sizeBytes);
        if (range === undefined || range === "unsatisfiable") return;
        assert.ok(0 <= range.start && range.start <= range.end && range.end < sizeBytes);
      }),
    );
  });
});
