import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { packageNameOf } from "./package-name.ts";

describe("packageNameOf()", () => {
  for (const [name, packageName] of [
    ["hello-2.12.1", "hello"],
    ["nix-2.8.0pre20220512_d354fc30", "nix"],
    ["a-b-c", "a-b-c"],
    ["gcc-wrapper-13.2.0-man", "gcc-wrapper"],
    ["source", "source"],
    ["-1", "-1"],
  ] as const) {
    it(`cuts ${name} as Nix does`, () => {
      assert.equal(packageNameOf(name), packageName);
    });
  }
});
