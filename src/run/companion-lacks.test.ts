import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath } from "../nix/store-path.ts";
import type { CompanionLack } from "../push/events.ts";
import { lackLines } from "./companion-lacks.ts";

function lack(name: string, why: string): CompanionLack {
  return { path: parseStorePath(`/nix/store/${"a".repeat(32)}-${name}`), what: "listing", why };
}

describe("lackLines()", () => {
  it("says nothing of nothing", () => {
    assert.deepEqual(lackLines([]), []);
  });

  it("has one line for each reason, with the first path of it", () => {
    const lacks = [
      lack("a", "too large"),
      lack("b", "odd"),
      lack("c", "too large"),
      lack("d", "too large"),
    ];
    assert.deepEqual(lackLines(lacks), [
      "a and 2 more go without a listing: too large",
      "b goes without a listing: odd",
    ]);
  });
});
