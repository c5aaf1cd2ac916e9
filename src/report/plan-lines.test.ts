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
    assert.equal(lines[7], "other: 1 selected, nothing to push, 1 already there");
  });

  it("gives each path a line with action, size, name, reason and picks", () => {
    const [, line] = linesOf(decision("words-1.0", "push"));
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
      ["mine: 122 selected,", " push 1.5", " held 1.5", " 120 that"],
    );
    assert.equal(lines.at(-1), "  120 that readers have already: see --full");
    assert.equal(linesOf(...paths).length, 123);
  });

  it("lets no reason or name steer the terminal", () => {
    const hostile = { ...decision("a", "push"), picks: [{ name: "\u001b[2J" }] };
    assert.match(linesOf(hostile)[1] ?? "", /\(for \[2J\)$/);
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
