import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nearest } from "./nearest.ts";

const KEYS = ["name", "paths", "closure", "caches", "exclude", "pin", "token-file"];

describe("nearest()", () => {
  for (const [word, meant] of [
    ["path", "paths"],
    ["closrue", "closure"],
    ["Exclude", "exclude"],
    ["token_file", "token-file"],
    ["nmae", "name"],
    ["pins", "pin"],
    ["caches", "caches"],
  ] as const) {
    it(`takes ${word} for ${meant}`, () => {
      assert.equal(nearest(word, KEYS), meant);
    });
  }

  for (const word of ["", "compression", "xx", "zzzz", "n".repeat(100_000)]) {
    it(`finds nothing like ${JSON.stringify(word.slice(0, 20))}`, () => {
      assert.equal(nearest(word, KEYS), undefined);
    });
  }

  it("prefers the closer of two", () => {
    assert.equal(nearest("cache", ["caches", "ache", "cach", "cache"]), "cache");
    assert.equal(nearest("excluded", ["include", "exclude"]), "exclude");
  });
});
