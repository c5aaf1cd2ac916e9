import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseNixCacheInfo, printNixCacheInfo } from "./cache-info.ts";

describe("nix-cache-info", () => {
  it("is read as Nix reads it", () => {
    const cases: readonly (readonly [text: string, storeDir: string | undefined])[] = [
      ["StoreDir: /nix/store\n", "/nix/store"],
      ["StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", "/nix/store"],
      ["Priority: 40\nStoreDir:/home/me/store/", "/home/me/store"],
      ["", undefined],
      [printNixCacheInfo({ storeDir: "/nix/store" }), "/nix/store"],
    ];
    for (const [text, storeDir] of cases) assert.deepEqual(parseNixCacheInfo(text), { storeDir });
  });

  it("is refused where it is something else", () => {
    const texts = ["<html>\n", "StoreDir: store\n", "StoreDir: \n", "x".repeat(70_000)];
    for (const text of texts) {
      assert.throws(() => parseNixCacheInfo(text), { name: "FormatError" }, text.slice(0, 20));
    }
  });
});
