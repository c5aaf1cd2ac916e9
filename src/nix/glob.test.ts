import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { parseStorePath, type StorePath } from "./store-path.ts";
import { compileGlob } from "./glob.ts";
import { packageNameOf } from "./package-name.ts";

const HASH = "0123456789abcdfghijklmnpqrsvwxyz";

function storePath(name: string): StorePath {
  return parseStorePath(`/nix/store/${HASH}-${name}`);
}

describe("compileGlob()", () => {
  it("matches the whole name part", () => {
    const cases: [glob: string, name: string, expected: boolean][] = [
      ["hello", "hello", true],
      ["hello", "hello-2.12", true],
      ["hello*", "hello", true],
      ["hello*", "hello-2.12", true],
      ["*-source", "rust-1.0-source", true],
      ["*-source", "rust-1.0-source-2", false],
      ["*-source*", "rust-1.0-source-2", true],
      ["**", "x", true],
      ["?at", "cat", true],
      ["?at", "at", false],
      ["lib[0-9a]", "liba", true],
      ["lib[0-9a]", "lib7", true],
      ["lib[0-9a]", "libb", false],
      ["lib[!0-9]", "libb", true],
      ["lib[!0-9]", "lib7", false],
      ["lib[+-]x", "lib-x", true],
      ["lib[z-a]", "libm", false],
      ["a.c", "abc", false],
      ["*a*b*c*", "xxaxxbxxcxx", true],
      ["*a*b*c*", "xxaxxcxxbxx", false],
    ];
    for (const [glob, name, expected] of cases) {
      assert.equal(compileGlob(glob)(storePath(name)), expected, `${glob} on ${name}`);
    }
  });

  it("matches the name of a package where it has no wildcard", () => {
    const cases: [glob: string, name: string, expected: boolean][] = [
      ["zoom", "zoom-6.1", true],
      ["zoom", "zoom-6.1.drv", true],
      ["zoom", "zoom-6.1-doc", true],
      ["zoom-6.1", "zoom-6.1", true],
      ["zoom-6.1", "zoom-6.1-doc", false],
      ["zoom", "zoom-us-6.1", false],
      ["zoom", "xzoom-6.1", false],
      ["gcc-wrapper", "gcc-wrapper-13.2.0-man", true],
      ["gcc", "gcc-wrapper-13.2.0", false],
      ["z[o]om", "zoom-6.1", false],
      ["zoo?", "zoom-6.1", false],
    ];
    for (const [glob, name, expected] of cases) {
      assert.equal(compileGlob(glob)(storePath(name)), expected, `${glob} on ${name}`);
    }
  });

  it("matches the full path if it starts with a slash", () => {
    const path = storePath("hello-2.12");
    assert.equal(compileGlob(path)(path), true);
    assert.equal(compileGlob(path)(storePath("hello-2.13")), false);
    assert.equal(compileGlob("/nix/store/*-hello-*")(path), true);
    assert.equal(compileGlob("/gnu/store/*")(path), false);
    assert.equal(compileGlob(`/nix/store/[0-9]${HASH.slice(1)}-hello-*`)(path), true);
  });

  it("refuses what can never match or is not closed", () => {
    const patterns = ["", "a b", "{a,b}", "[", "a[", "[]", "[!]", "a]", "a/b", "/", "/x[", "/{a}"];
    for (const pattern of [...patterns, "x".repeat(513)]) {
      assert.throws(() => compileGlob(pattern), RangeError, pattern);
    }
  });

  it("agrees with a regular expression", () => {
    const letter = fc.constantFrom("a", "b", "-");
    const name = fc.array(letter, { minLength: 1, maxLength: 12 }).map((all) => all.join(""));
    const piece = fc.constantFrom("a", "b", "-", "*", "?", "[a-b]", "[!a]");
    const glob = fc.array(piece, { minLength: 1, maxLength: 8 }).map((all) => all.join(""));
    fc.assert(
      fc.property(glob, name, (pattern, text) => {
        const source = pattern.replaceAll("[!", "[^").replaceAll("*", ".*").replaceAll("?", ".");
        const isWhole = new RegExp(`^${source}$`).test(text);
        const expected = isWhole || packageNameOf(text) === pattern;
        assert.equal(compileGlob(pattern)(storePath(text)), expected);
      }),
      { numRuns: 500 },
    );
  });

  it("does not blow up on many stars", () => {
    const matches = compileGlob(`${"*a".repeat(100)}*b`);
    assert.equal(matches(storePath("a".repeat(211))), false);
  });
});
