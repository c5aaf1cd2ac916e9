import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { affordable, isOutOfFiles } from "./open-files.ts";

describe("affordable()", () => {
  it("gives what is wanted where the limit is as usual, and less where it is low", () => {
    assert.deepEqual(
      [Infinity, 1024, 256, 64, 40, 8].map((limit) => affordable(64, 2, limit)),
      [64, 64, 56, 8, 2, 1],
    );
    assert.equal(affordable(4, 6, 64), 2);
    assert.ok(affordable(4, 6) >= 1);
  });
});

describe("isOutOfFiles()", () => {
  it("knows the codes, and the message of a thread that does not start", () => {
    const coded = (code: string): Error => Object.assign(new Error("no"), { code });
    assert.ok(isOutOfFiles(coded("EMFILE")) && isOutOfFiles(coded("ENFILE")));
    assert.ok(isOutOfFiles(new Error("Worker initialization failure: EMFILE")));
    assert.ok(!isOutOfFiles(coded("ENOENT")) && !isOutOfFiles("EMFILE"));
  });
});
