import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { FUZZ_RUNS, hostileText, valueOrRefusal } from "../../test/fuzz.ts";
import {
  baseNameOf,
  compareStorePaths,
  fromBaseName,
  hashPartOf,
  isDerivation,
  isStorePath,
  nameOf,
  parseHashPart,
  parseStorePath,
  storeDirOf,
} from "./store-path.ts";

const HASH = "y9v4w1kf41c10q7fdxlbz10s0adiximd";
const refused = { name: "FormatError", format: "store-path" };

describe("parseStorePath()", () => {
  it("takes a direct child of the store folder and cuts it up", () => {
    const path = parseStorePath(`/nix/store/${HASH}-dep-1.0`);
    assert.equal(baseNameOf(path), `${HASH}-dep-1.0`);
    assert.equal(storeDirOf(path), "/nix/store");
    assert.equal(hashPartOf(path), HASH);
    assert.equal(nameOf(path), "dep-1.0");
    assert.equal(isDerivation(path), false);
    assert.equal(isDerivation(parseStorePath(`/s/${HASH}-x.drv`, "/s")), true);
  });

  for (const name of ["a", ".gitignore", "..a", ".a-", "a".repeat(211), "+._?=-"]) {
    it(`takes the name ${name.slice(0, 20)}`, () => {
      const path = parseStorePath(`/nix/store/${HASH}-${name}`);
      assert.equal(nameOf(path), name);
      assert.ok(isStorePath(path));
    });
  }

  for (const text of [
    "",
    `/nix/store/${HASH}`,
    `/nix/store/${HASH}-`,
    `/nix/store/${HASH}-a/bin`,
    `/nix/store/${HASH}-a\n`,
    `/nix/store/${HASH}-é`,
    `/nix/store/${HASH}-${"a".repeat(212)}`,
    `/nix/store/${HASH}-.`,
    `/nix/store/${HASH}-..`,
    `/nix/store/${HASH}-.-a`,
    `/nix/store/${HASH}-..-a`,
    `/nix/store/${HASH.replace("y", "e")}-a`,
    `/nix/store/${HASH.slice(1)}-a`,
    `/other/${HASH}-a`,
    `/nix/store//${HASH}-a`,
  ]) {
    it(`refuses ${JSON.stringify(text.slice(0, 60))}`, () => {
      assert.equal(isStorePath(text), false);
      assert.throws(() => parseStorePath(text), refused);
    });
  }

  it("agrees with isStorePath() on any text", () => {
    fc.assert(
      fc.property(hostileText([`/nix/store/${HASH}-dep-1.0`]), (text) => {
        const path = valueOrRefusal("FormatError", () => parseStorePath(text));
        assert.equal(path, isStorePath(text) ? text : undefined);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("fromBaseName()", () => {
  it("inverts baseNameOf()", () => {
    const path = parseStorePath(`/nix/store/${HASH}-dep-1.0`);
    assert.equal(fromBaseName(baseNameOf(path)), path);
  });
});

describe("parseHashPart()", () => {
  it("takes 32 characters of nix32 and nothing else", () => {
    assert.equal(parseHashPart(HASH), HASH);
    for (const text of ["", HASH.slice(1), `${HASH}0`, HASH.replace("y", "u")]) {
      assert.throws(() => parseHashPart(text), refused);
    }
  });
});

describe("compareStorePaths()", () => {
  it("orders by bytes", () => {
    const paths = ["Z", "a", "a.b", "a-b"].map((name) =>
      parseStorePath(`/s/${HASH}-${name}`, "/s"),
    );
    assert.deepEqual(paths.toSorted(compareStorePaths).map(nameOf), ["Z", "a", "a-b", "a.b"]);
    const [first] = paths;
    assert.equal(first === undefined ? undefined : compareStorePaths(first, first), 0);
  });
});
