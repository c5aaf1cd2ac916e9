import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseNixCacheInfo, printNixCacheInfo } from "./cache-info.ts";

describe("nix-cache-info", () => {
  it("is read as Nix reads it", () => {
    const cases: readonly (readonly [text: string, storeDir?: string, priority?: number])[] = [
      ["StoreDir: /nix/store\n", "/nix/store"],
      ["StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", "/nix/store", 40],
      ["Priority: 40\nStoreDir:/home/me/store/", "/home/me/store", 40],
      ["StoreDir: /s\nPriority: high\nPriority: -1\n", "/s"],
      [""],
      [printNixCacheInfo({ storeDir: "/nix/store" }), "/nix/store"],
    ];
    for (const [text, storeDir, priority] of cases) {
      assert.deepEqual(parseNixCacheInfo(text), { storeDir, priority });
    }
  });

  it("is refused where it is something else", () => {
    const texts = ["<html>\n", "StoreDir: store\n", "StoreDir: \n", "x".repeat(70_000)];
    for (const text of texts) {
      assert.throws(() => parseNixCacheInfo(text), { name: "FormatError" }, text.slice(0, 20));
    }
  });
});
