import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyInfo, toyPath } from "../../test/toy-paths.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { isQuick, type Package, packagesOf, withoutReplaced } from "./packages.ts";

const DRV = toyPath("app.drv");

function output(name: string, change: Partial<PathInfo> = {}): PathInfo {
  return { ...toyInfo(name, []), deriver: DRV, ...change };
}

function built(name: string, builtAt: number): Package {
  const paths = [toyPath(name)];
  return { name, paths, derivation: undefined, narSize: 1, buildMs: undefined, builtAt };
}

describe("packagesOf()", () => {
  it("puts the outputs of a build together, under the name of the first", () => {
    const infos = [
      output("app-1-dev", { registrationTime: 7 }),
      output("app-1", { registrationTime: 5 }),
      { ...toyInfo("lib-1", []), narSize: 3 },
    ];
    const found = packagesOf(infos, { times: new Map([[DRV, 1500]]), kept: new Map() });
    assert.deepEqual(found, [
      {
        name: "app-1",
        paths: [toyPath("app-1"), toyPath("app-1-dev")].toSorted(),
        derivation: DRV,
        narSize: 200,
        buildMs: 1500,
        builtAt: 7000,
      },
      { ...built("lib-1", 0), narSize: 3 },
    ]);
  });

  it("takes the outputs that roots keep, where they keep any", () => {
    const infos = [output("app-1"), output("app-1-dev")];
    const kept = new Map([[toyPath("app-1-dev"), output("app-1-dev")]]);
    const [found] = packagesOf(infos, { times: new Map(), kept });
    assert.deepEqual([found?.name, found?.narSize], ["app-1-dev", 100]);
  });

  it("leaves out derivations, and sets of packages", () => {
    const infos = [output("app-1.drv"), output("system-path", { deriver: undefined })];
    assert.deepEqual(packagesOf(infos, { times: new Map(), kept: new Map() }), []);
  });
});

describe("withoutReplaced()", () => {
  const [old, older, now] = [built("app-1", 20), built("app-0", 10), built("app-2", 30)];
  const other = built("lib-1", 5);

  it("leaves out builds that a later one of their package replaced", () => {
    assert.deepEqual(withoutReplaced([older, now, old, other], new Set()), [now, other]);
  });

  it("keeps what is current, and a later build beside it", () => {
    assert.deepEqual(withoutReplaced([older, old, now], new Set(old.paths)), [old, now]);
  });
});

describe("isQuick()", () => {
  it("goes by the time, and by the size where no log tells it", () => {
    const cases: readonly [number | undefined, number, boolean][] = [
      [4_999, 1e9, true],
      [5_000, 1, false],
      [undefined, 99_999, true],
      [undefined, 100_000, false],
    ];
    for (const [buildMs, narSize, expected] of cases) {
      assert.equal(isQuick({ ...built("app-1", 0), buildMs, narSize }), expected);
    }
  });
});
