import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { idleExcludes } from "./idle-excludes.ts";
import type { PlanPick } from "./needs.ts";

const pathOf = (name: string): StorePath => parseStorePath(`/nix/store/${"0".repeat(32)}-${name}`);

function pick(members: readonly string[], exclude: readonly string[] = []): PlanPick {
  return {
    name: members[0] ?? "",
    members: new Set(members.map(pathOf)),
    caches: undefined,
    exclude,
  };
}

describe("idleExcludes()", () => {
  it("tells nothing of globs that leave something out", () => {
    const closed = [pick(["app-1", "app-1-doc"], ["*-doc"]), pick(["zoom-6.1"])];
    const exclude = ["zoom", "app-1", pathOf("app-1-doc")];
    assert.deepEqual(idleExcludes(closed, { exclude }), []);
  });

  it("names each glob of the rules that fits nothing, once", () => {
    const exclude = ["zoom-us", "app", "zoom-us", "/nix/store/*-gone"];
    assert.deepEqual(idleExcludes([pick(["zoom-6.1", "app-1"])], { exclude }), [
      'exclude of [rules] has globs that fit nothing here: "zoom-us", "/nix/store/*-gone"',
    ]);
  });

  it("names a glob of picks only if it fits in none of those that have it", () => {
    const closed = [
      pick(["app-1", "app-1-doc"], ["*-doc", "*-man"]),
      pick(["lib-1"], ["*-doc", "*-man"]),
      pick(["tool-1-man"]),
    ];
    assert.deepEqual(idleExcludes(closed, { exclude: [] }), [
      'exclude of picks has globs that fit nothing here: "*-man"',
    ]);
  });

  it("is bounded, whatever the rules are", () => {
    const exclude = Array.from({ length: 500 }, (_, index) => `${"x".repeat(200)}${index}`);
    const [text = "", ...more] = idleExcludes([pick(["app-1"])], { exclude });
    assert.match(text, /… and 495 more$|…" and 495 more$/);
    assert.ok(text.length < 600 && more.length === 0);
  });
});
