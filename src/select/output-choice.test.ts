import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseOutputChoice } from "./output-choice.ts";

describe("parseOutputChoice()", () => {
  it("reads every spelling that Nix has or had", () => {
    for (const [input, base, outputs] of [
      ["x.drv^out", "x.drv", ["out"]],
      ["x.drv^out,dev", "x.drv", ["out", "dev"]],
      ["x.drv^*", "x.drv", "all"],
      ["x.drv!bin", "x.drv", ["bin"]],
      [".#foo^dev", ".#foo", ["dev"]],
      ["nixpkgs#a^b^*", "nixpkgs#a^b", "all"],
    ] as const) {
      assert.deepEqual(parseOutputChoice(input), { base, outputs }, input);
    }
  });

  it("leaves everything else alone", () => {
    for (const input of [
      "",
      "^out",
      "x.drv",
      "x.drv^",
      "x.drv^a,",
      "x.drv^a/b",
      ".#foo!out",
      "a!b",
    ]) {
      assert.equal(parseOutputChoice(input), undefined, input);
    }
  });
});
