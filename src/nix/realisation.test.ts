import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  isRealisationId,
  printRealisation,
  type Realisation,
  realisationFingerprints,
  type RealisationId,
} from "./realisation.ts";
import { parseStorePath } from "./store-path.ts";

function id(digit: string, output = "out"): RealisationId {
  const text = `sha256:${digit.repeat(64)}!${output}`;
  assert.ok(isRealisationId(text));
  return text;
}

const path = (name: string) => parseStorePath(`/nix/store/${"a".repeat(32)}-${name}`);
const base = (name: string): string => `${"a".repeat(32)}-${name}`;
const ALONE: Realisation = {
  id: id("1"),
  path: path("app"),
  signatures: [],
  dependencies: new Map(),
};
const APP: Realisation = {
  ...ALONE,
  signatures: ["k-1:abc"],
  dependencies: new Map([
    [id("3"), path("b")],
    [id("2", "dev"), path("a")],
  ]),
};

describe("printRealisation()", () => {
  it("has the keys in the order in which Nix prints them", () => {
    assert.equal(
      printRealisation(APP),
      `{"dependentRealisations":{"${id("2", "dev")}":"${base("a")}","${id("3")}":"${base("b")}"},` +
        `"id":"${id("1")}","outPath":"${base("app")}","signatures":["k-1:abc"]}`,
    );
  });
});

describe("realisationFingerprints()", () => {
  it("has a form with dependencies and one without", () => {
    const without = `{"dependentRealisations":{},"id":"${id("1")}","outPath":"${base("app")}"}`;
    const [first, second, ...rest] = realisationFingerprints(APP);
    assert.match(first ?? "", /"dependentRealisations":\{"sha256:2+!dev":/);
    assert.deepEqual([second, rest], [without, []]);
    assert.deepEqual(realisationFingerprints(ALONE), [without]);
  });
});

describe("isRealisationId()", () => {
  it("takes no text that would be another name of a file", () => {
    const hash = `sha256:${"0".repeat(64)}`;
    for (const text of [
      "",
      hash,
      `${hash}!`,
      `${hash}!a/b`,
      `${hash}!..\n`,
      `sha1:00!out`,
      `x${hash}!out`,
    ]) {
      assert.equal(isRealisationId(text), false, text);
    }
    assert.equal(isRealisationId(`${hash}!bin-2.0_x`), true);
  });
});
