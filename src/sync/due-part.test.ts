import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyInfos, toyPath } from "../../test/toy-paths.ts";
import type { StorePath } from "../nix/store-path.ts";
import { totalsOf } from "../plan/make-plan.ts";
import type { Action, Decision, Plan, ReasonCode } from "../plan/plan.ts";
import type { Entry } from "../state/ledger-entry.ts";
import { duePart, type DuePartOptions } from "./due-part.ts";

const NOW = Date.UTC(2026, 0, 1);

/** A plan of `name: [action, code]`, references first. */
function planOf(decisions: Readonly<Record<string, readonly [Action, ReasonCode]>>): Plan {
  const paths = Object.entries(decisions).map(([name, [action, code]]): Decision => {
    return { path: toyPath(name), cache: "mine", action, reason: { code }, narSize: 1, picks: [] };
  });
  return { version: 1, paths, totals: totalsOf(paths) };
}

function failing(name: string, nextTry: number): [StorePath, Entry] {
  const path = toyPath(name);
  const entry: Entry = {
    cache: "mine",
    path,
    state: "failing",
    waitingSince: 0,
    failingSince: 0,
    tries: 1,
    nextTry,
    trouble: undefined,
    pushedAt: undefined,
    seenAt: undefined,
  };
  return [path, entry];
}

// a <- b <- c
const CHAIN = toyInfos({ a: [], b: ["a"], c: ["c", "b"] });
const PUSHES = planOf({ a: ["push", "missing"], b: ["push", "missing"], c: ["push", "missing"] });

function part(plan: Plan, change: Partial<DuePartOptions> = {}): [string[], string[]] {
  const options = { infos: CHAIN, isForced: false, isStrict: false, now: NOW, ...change };
  const { plan: due, outcomes } = duePart(plan, { known: new Map(), ...options });
  return [
    due.paths.map(({ path }) => path.slice(44)),
    outcomes.map(({ path, state, trouble }) =>
      [path.slice(44), state, trouble?.code].filter(Boolean).join(" "),
    ),
  ];
}

describe("duePart()", () => {
  it("takes all of a new plan, and notes what waits", () => {
    assert.deepEqual(part(PUSHES), [
      ["a", "b", "c"],
      ["a waiting", "b waiting", "c waiting"],
    ]);
  });

  it("leaves a path that failed until its time, and holds what needs it", () => {
    const known = new Map([failing("a", NOW + 60_000)]);
    assert.deepEqual(part(PUSHES, { known }), [
      [],
      ["b held reference-failed", "c held reference-failed"],
    ]);
  });

  it("takes it when its time has come, or when told to, and leaves its entry alone", () => {
    for (const [nextTry, isForced] of [
      [NOW, false],
      [NOW + 60_000, true],
      [NOW + 365 * 24 * 60 * 60_000, false], // a clock that was wrong
    ] as const) {
      const known = new Map([failing("a", nextTry)]);
      assert.deepEqual(part(PUSHES, { known, isForced }), [
        ["a", "b", "c"],
        ["b waiting", "c waiting"],
      ]);
    }
  });

  it("notes what is there, upstream, excluded or held as the plan has it", () => {
    const plan = planOf({
      a: ["present", "in-cache"],
      b: ["upstream", "in-upstream"],
      c: ["excluded", "exclude-rule"],
      d: ["held", "reference-excluded"],
    });
    assert.deepEqual(part(plan)[1], [
      "a pushed",
      "b upstream in-upstream",
      "c excluded exclude-rule",
      "d held reference-excluded",
    ]);
  });

  it("tries again later what an upstream that did not answer may have", () => {
    const plan = planOf({ a: ["held", "upstream-unreachable"] });
    assert.deepEqual(part(plan)[1], ["a failing upstream-unreachable"]);
  });

  it('pushes nothing of a plan that holds something, with on-hole = "fail"', () => {
    const plan = planOf({ a: ["push", "missing"], b: ["held", "reference-excluded"] });
    assert.deepEqual(part(plan, { isStrict: true })[1], [
      "a held reference-held",
      "b held reference-excluded",
    ]);
    assert.deepEqual(part(plan)[1][0], "a waiting");
  });
});
