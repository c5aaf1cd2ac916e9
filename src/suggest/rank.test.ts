import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyInfo, toyPath } from "../../test/toy-paths.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { packagesOf } from "./packages.ts";
import { rank, type RankOptions, type Suggestion } from "./rank.ts";
import type { Root } from "./roots.ts";

const RECORDS: readonly (readonly [string, readonly string[], number])[] = [
  ["env", ["tool", "small", "silent"], 10],
  ["tool", ["tool-lib", "libc", "tool"], 1000],
  ["tool-lib", ["libc"], 3000],
  ["small", ["libc"], 100],
  ["silent", [], 50],
  ["silent-2", [], 50],
  ["libc", [], 9_000],
  // Two that refer to each other, as outputs of one derivation may.
  ["loop", ["loop-dev"], 500],
  ["loop-dev", ["loop"], 500],
];
const TIMES: Readonly<Record<string, number>> = { tool: 40_000, "tool-lib": 40_000, small: 1_000 };

function drvOf(name: string): StorePath {
  return toyPath(`${name.replace("-dev", "")}.drv`);
}

const infos = new Map<StorePath, PathInfo>(
  RECORDS.map(([name, references, narSize], index) => [
    toyPath(name),
    { ...toyInfo(name, references, { narSize }), deriver: drvOf(name), registrationTime: index },
  ]),
);
const times = new Map<StorePath, number | undefined>([
  ...Object.entries(TIMES).map(([name, buildMs]) => [drvOf(name), buildMs] as const),
  [drvOf("loop"), 60_000],
]);
const ALL = new Set(infos.keys());
const [LIBC, ENV] = [toyPath("libc"), toyPath("env")];

function ranked({ lacking = ALL, roots = [] }: Partial<RankOptions> = {}): Suggestion[] {
  const chosen = [...infos.values()].filter(({ path }) => path !== LIBC && path !== ENV);
  const packages = packagesOf(chosen, { times, kept: new Map() });
  return rank(packages, { infos, times, lacking, roots });
}

describe("rank()", () => {
  it("puts the most time for each byte first, and unknown times last, the newest first", () => {
    const lacking = ALL.difference(new Set([LIBC]));
    assert.deepEqual(
      ranked({ lacking }).map(({ name, savedMs, pushBytes, pushPaths }) => [
        name,
        savedMs,
        pushBytes,
        pushPaths,
      ]),
      [
        ["loop", 60_000, 1000, 2],
        ["tool", 80_000, 4000, 2],
        ["tool-lib", 40_000, 3000, 1],
        ["small", 1_000, 100, 1],
        ["silent-2", undefined, 50, 1],
        ["silent", undefined, 50, 1],
      ],
    );
  });

  it("counts what else would be pushed, and nothing that is served", () => {
    const sizeOf = (lacking: ReadonlySet<StorePath>): number | undefined =>
      ranked({ lacking }).find(({ name }) => name === "tool")?.pushBytes;
    assert.equal(sizeOf(ALL), 13_000);
    assert.equal(sizeOf(new Set([toyPath("tool")])), 1000);
    assert.equal(sizeOf(new Set([LIBC])), undefined);
  });

  it("names what needs a package: what is current first, and the newest of old generations", () => {
    const profile = (name: string, generation?: number): Root => ({
      kind: "profile",
      name,
      target: ENV,
      ...(generation === undefined ? {} : { generation }),
    });
    const link: Root = { kind: "link", name: "/result", target: toyPath("tool") };
    const roots = [profile("old", 3), profile("old", 12), link, profile("now", 4), profile("now")];
    const wanters = new Map(ranked({ roots }).map(({ name, wantedBy }) => [name, wantedBy]));
    const now = { kind: "profile", name: "now" };
    const old = { kind: "profile", name: "old", generation: 12 };
    assert.deepEqual(wanters.get("tool-lib"), [now, { kind: "link", name: "/result" }, old]);
    assert.deepEqual(wanters.get("small"), [now, old]);
    assert.deepEqual(wanters.get("loop"), []);
  });
});
