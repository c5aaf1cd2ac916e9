import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { hashPartOf, type HashPart } from "../nix/store-path.ts";
import { samplePath } from "../../test/serve-client.ts";
import { Visibility } from "./visibility.ts";

const hash = (name: string | number): HashPart => hashPartOf(samplePath(`path-${name}`));
const A = hash("a");
const B = hash("b");
const C = hash("c");

describe("Visibility", () => {
  it("shows a path without references at once, and one that refers to itself", () => {
    const visibility = new Visibility();
    visibility.add(A, []);
    visibility.add(B, [B, A, A]);
    assert.ok(visibility.isVisible(A));
    assert.ok(visibility.isVisible(B));
  });

  it("hides a path until the last of its closure arrives", () => {
    const visibility = new Visibility();
    visibility.add(A, [B]);
    visibility.add(B, [C]);
    assert.ok(visibility.has(A));
    assert.ok(!visibility.isVisible(A));
    visibility.add(C, []);
    assert.ok(visibility.isVisible(A));
  });

  it("counts what an upstream has as available, but not as here", () => {
    const visibility = new Visibility();
    visibility.add(A, [B]);
    visibility.addElsewhere(B);
    assert.ok(visibility.isVisible(A));
    assert.ok(!visibility.has(B));
    assert.ok(!visibility.isVisible(B));
    assert.ok(visibility.isElsewhere(B));
  });

  it("tells the holes of a closure, however deep", () => {
    const visibility = new Visibility();
    visibility.add(A, [B, hash("x")]);
    visibility.add(B, [C]);
    assert.deepEqual(visibility.holes(A), new Set([C, hash("x")]));
    visibility.add(C, []);
    assert.deepEqual(visibility.holes(A), new Set([hash("x")]));
  });

  it("keeps the first references of a path that comes twice", () => {
    const visibility = new Visibility();
    visibility.add(A, [B]);
    visibility.add(A, []);
    assert.ok(!visibility.isVisible(A));
  });

  it("reveals a chain of 30 000 paths without recursion", () => {
    const visibility = new Visibility();
    const chain = Array.from({ length: 30_000 }, (_, index) => hash(index));
    for (const [index, path] of chain.entries()) {
      const next = chain[index + 1];
      if (next !== undefined) visibility.add(path, [next]);
    }
    assert.ok(!visibility.isVisible(chain[0] ?? A));
    visibility.add(chain.at(-1) ?? A, []);
    assert.ok(chain.every((path) => visibility.isVisible(path)));
  });

  it("agrees with a walk over the whole closure, in any order of arrival", () => {
    const paths = Array.from({ length: 12 }, (_, index) => hash(index));
    const step = fc.record({
      path: fc.nat(11),
      references: fc.uniqueArray(fc.nat(11), { maxLength: 4 }),
      isElsewhere: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const visibility = new Visibility();
        const here = new Map<number, readonly number[]>();
        const elsewhere = new Set<number>();
        for (const { path, references, isElsewhere } of steps) {
          // References point down only: a store has no cycles but self-references.
          const below = references.filter((reference) => reference <= path);
          if (isElsewhere) elsewhere.add(path);
          else if (!here.has(path)) here.set(path, below);
          const hashPart = paths[path] ?? A;
          if (isElsewhere) visibility.addElsewhere(hashPart);
          else
            visibility.add(
              hashPart,
              below.map((reference) => paths[reference] ?? A),
            );
        }
        const isAvailable = (path: number): boolean => elsewhere.has(path) || isShown(path);
        const isShown = (path: number): boolean =>
          here.get(path)?.every((reference) => reference === path || isAvailable(reference)) ===
          true;
        for (const [index, path] of paths.entries()) {
          assert.equal(visibility.isVisible(path), isShown(index));
          assert.equal(visibility.isAvailable(path), isAvailable(index));
        }
      }),
    );
  });
});
