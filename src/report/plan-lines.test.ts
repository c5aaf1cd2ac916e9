import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath } from "../nix/store-path.ts";
import type { Action, Decision, Plan } from "../plan/plan.ts";
import { NO_PAINT } from "./painter.ts";
import { namesOf, planLines } from "./plan-lines.ts";

const NONE = { paths: 0, narSize: 0 };
const totals = { push: NONE, present: NONE, upstream: NONE, held: NONE, excluded: NONE };

function decision(name: string, action: Action, cache = "mine"): Decision {
  const path = parseStorePath(`/nix/store/${"a".repeat(32)}-${name}`);
  const reason = { code: "missing" } as const;
  return { path, cache, action, reason, narSize: 1536, picks: [{ name: "app" }, { name: "tool" }] };
}

const linesOf = (...paths: Decision[]): string[] => {
  const plan: Plan = { version: 1, paths, totals };
  return planLines(plan, { paint: NO_PAINT, isFull: true });
};

describe("planLines()", () => {
  it("counts as a push does, cache by cache", () => {
    const lines = linesOf(
      decision("a", "push"),
      decision("b", "push"),
      decision("c", "present"),
      decision("d", "upstream"),
      decision("e", "held"),
      decision("f", "excluded"),
      decision("a", "present", "other"),
    );
    assert.equal(
      lines[0],
      "mine: 6 selected, 2 to push (3.0 KiB), 1 already there, 1 upstream, 1 held, 1 excluded",
    );
    assert.equal(lines[9], "other: 1 selected, nothing to push, 1 already there");
  });

  it("gives each path a line with action, size, name, reason and picks", () => {
    const line = linesOf(decision("words-1.0", "push")).at(-1);
    assert.equal(
      line,
      "  push        1.5 KiB  words-1.0                        missing from the cache (for app, tool)",
    );
  });

  it("counts what readers have already, unless all is asked for", () => {
    const present = Array.from({ length: 120 }, (_, n) => decision(`p${n}`, "present"));
    const paths = [...present, decision("a", "push"), decision("h", "held")];
    const lines = planLines({ version: 1, paths, totals }, { paint: NO_PAINT, isFull: false });
    assert.deepEqual(
      lines.map((line) => line.split(/ +/, 3).join(" ")),
      ["mine: 122 selected,", " for app:", " for tool:", " held 1.5", " push 1.5", " 120 that"],
    );
    assert.equal(lines.at(-1), "  120 that readers have already: see --full");
    assert.equal(linesOf(...paths).length, 125);
  });

  it("lists the largest of many pushes, and counts the others", () => {
    const paths = Array.from({ length: 30 }, (_, n) => ({
      ...decision(`p${n}`, "push"),
      narSize: 1024 * ((n * 7) % 30),
      picks: [{ name: "app" }],
    }));
    const lines = planLines({ version: 1, paths, totals }, { paint: NO_PAINT, isFull: false });
    const sizes = lines.slice(1, -1).map((line) => Number(/ (\d+)\.0 KiB /.exec(line)?.[1]));
    assert.deepEqual(sizes, [29, 28, 27, 26, 25, 24, 23, 22, 21, 20]);
    assert.equal(lines.at(-1), "  20 smaller ones to push (190.0 KiB): see --full");
    const few = planLines(
      { version: 1, paths: paths.slice(0, 10), totals },
      { paint: NO_PAINT, isFull: false },
    );
    assert.deepEqual(
      few.slice(1).map((line) => / (p\d+) /.exec(line)?.[1]),
      paths.slice(0, 10).map((_, n) => `p${n}`),
    );
  });

  it("says what each of several picks needs", () => {
    const app = { ...decision("a", "push"), picks: [{ name: "app", selection: "home" }] };
    const other = {
      ...decision("b", "held"),
      picks: [...app.picks, { name: "app", selection: "work" }],
    };
    const [, home, work, ...rest] = linesOf(app, other);
    assert.equal(home, "  for app of home: 1 to push (1.5 KiB), 1 held");
    assert.equal(work, "  for app of work: nothing to push, 1 held");
    assert.equal(rest.length, 2);
  });

  it("lets no reason or name steer the terminal", () => {
    const hostile = { ...decision("a", "push"), picks: [{ name: "\u001b[2J" }] };
    assert.match(linesOf(hostile).at(-1) ?? "", /\(for \[2J\)$/);
  });
});

describe("namesOf()", () => {
  it("names the selection only where two picks have one name", () => {
    const home = { name: "tool", selection: "home" };
    assert.equal(namesOf([home, { name: "app", selection: "home" }]), "tool, app");
    assert.equal(
      namesOf([home, { name: "tool", selection: "work" }]),
      "tool of home, tool of work",
    );
  });
});
