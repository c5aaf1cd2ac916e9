import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseHashPart, type HashPart } from "../nix/store-path.ts";
import { Absences } from "./absences.ts";

const hash = (index: number): HashPart => parseHashPart(index.toString().padStart(32, "0"));

describe("Absences", () => {
  it("remembers for five minutes from the last time on", () => {
    let now = 0;
    const absences = new Absences(() => now);
    absences.add(hash(1));
    assert.deepEqual([absences.has(hash(1)), absences.has(hash(2))], [true, false]);
    now = 299_999;
    assert.ok(absences.has(hash(1)));
    absences.add(hash(1));
    now = 599_998;
    assert.ok(absences.has(hash(1)));
    now = 599_999;
    assert.ok(!absences.has(hash(1)));
  });

  it("forgets the oldest beyond a hundred thousand", () => {
    const absences = new Absences(() => 0);
    for (let index = 0; index < 100_000; index++) absences.add(hash(index));
    absences.add(hash(0));
    absences.add(hash(100_000));
    assert.deepEqual(
      [0, 1, 2, 100_000].map((index) => absences.has(hash(index))),
      [true, false, true, true],
    );
  });
});
