import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type Graph, toyInfos, toyPath } from "../../test/toy-paths.ts";
import { hashPartOf, type StorePath } from "../nix/store-path.ts";
import { explain, type ExplainedPick, type ExplainInput, pathsNamed } from "./explain.ts";
import { makePlan } from "./make-plan.ts";

const GRAPH: Graph = {
  tool: ["app"],
  app: ["lib-2", "lib"],
  lib: ["lib"],
  "lib-2": ["lib"],
  gcc: [],
};
const infos = toyInfos(GRAPH);

function pick(name: string, roots: readonly string[], members: readonly string[]): ExplainedPick {
  const paths = roots.map(toyPath);
  return { name, paths, members: new Set(members.map(toyPath)), caches: undefined, exclude: [] };
}

function inputOf(picks: readonly ExplainedPick[], exclude: readonly string[] = []): ExplainInput {
  const missing = new Set([...infos.keys()].map(hashPartOf));
  const caches = ["one", "two"].map((name) => ({
    name,
    missing: name === "one" ? missing : new Set<never>(),
    upstream: new Map(),
    unknown: new Set<never>(),
  }));
  const rules = { exclude, maxNarSize: undefined, onHole: "hold" } as const;
  return { plan: makePlan({ closed: picks, infos, rules, caches }), picks, infos };
}

const ALL = ["tool", "app", "lib-2", "lib"];
const TOOL = pick("editor", ["tool"], ALL);

describe("explain()", () => {
  it("gives the decision of each cache and the shortest way from each pick", () => {
    const app = { ...pick("app", ["app"], ALL.slice(1)), selection: "home" };
    const [found] = explain([toyPath("lib")], inputOf([TOOL, app], ["app"]));
    assert.deepEqual(
      found?.decisions.map(({ cache, action }) => [cache, action]),
      [
        ["one", "push"],
        ["two", "present"],
      ],
    );
    assert.deepEqual(found.ways, [
      { pick: { name: "app", selection: "home" }, chain: ["app", "lib"].map(toyPath) },
      { pick: { name: "editor" }, chain: ["tool", "app", "lib"].map(toyPath) },
    ]);
  });

  it("names the path alone where no reference leads to it", () => {
    const [found] = explain([toyPath("gcc")], inputOf([pick("all", ["tool"], [...ALL, "gcc"])]));
    assert.deepEqual(found?.ways, [{ pick: { name: "all" }, chain: [toyPath("gcc")] }]);
  });

  it("says nothing of picks that do without it", () => {
    const lib = pick("lib", ["lib"], ["lib"]);
    const [found] = explain([toyPath("tool")], inputOf([TOOL, lib]));
    assert.deepEqual(
      found?.ways.map(({ pick: { name } }) => name),
      ["editor"],
    );
  });
});

describe("pathsNamed()", () => {
  const input = inputOf([TOOL]);
  for (const [word, names] of [
    [toyPath("lib"), ["lib"]],
    ["lib", ["lib", "lib-2"]],
    ["lib-2", ["lib-2"]],
    ["editor", ["tool"]],
    ["gcc", []],
    ["li", []],
  ] as const) {
    it(`finds what ${word} means`, () => {
      const found: StorePath[] = pathsNamed(word, input).toSorted();
      assert.deepEqual(found, names.map(toyPath).toSorted());
    });
  }
});
