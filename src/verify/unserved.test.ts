import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyPath } from "../../test/toy-paths.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Hole } from "./fault.ts";
import { unserved } from "./unserved.ts";

const [tool, app, lib, libc, other] = ["tool", "app", "lib", "libc", "other"].map(toyPath) as [
  StorePath,
  StorePath,
  StorePath,
  StorePath,
  StorePath,
];
const REFERENCES = new Map([
  [tool, [app, tool]],
  [app, [lib, libc]],
  [lib, [libc, lib]],
]);
const referencesOf = (path: StorePath): readonly StorePath[] => REFERENCES.get(path) ?? [];
const lacking = (...paths: StorePath[]): Map<StorePath, Hole> =>
  new Map(
    paths.map((path) => [path, { path, faults: [{ code: "missing", server: "https://c" }] }]),
  );
const PICKS = [
  { pick: { name: "tool" }, roots: [tool] },
  { pick: { name: "lib", selection: "home" }, roots: [lib] },
  { pick: { name: "other" }, roots: [other] },
];

describe("unserved()", () => {
  it("finds no pick where nothing is lacking", () => {
    assert.deepEqual(unserved(PICKS, new Map(), referencesOf), []);
  });

  it("finds the picks that need a path, each with the shortest way to it", () => {
    const found = unserved(PICKS, lacking(libc), referencesOf);
    assert.deepEqual(
      found.map(({ pick, chain, others }) => [pick.name, chain, others]),
      [
        ["tool", [tool, app, libc], 0],
        ["lib", [lib, libc], 0],
      ],
    );
  });

  it("tells the nearest hole of a pick and counts the others", () => {
    const [found] = unserved(PICKS, lacking(libc, lib, app), referencesOf);
    assert.deepEqual([found?.hole.path, found?.chain, found?.others], [app, [tool, app], 2]);
  });

  it("tells of a pick that is lacking itself", () => {
    const found = unserved(PICKS, lacking(other), referencesOf);
    assert.deepEqual(
      found.map(({ pick, chain }) => [pick.name, chain]),
      [["other", [other]]],
    );
  });
});
