import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { isStroke, STROKES } from "./fault-step.ts";
import { KIND_NAMES, KINDS } from "./kinds/kinds.ts";
import { cachesOf, drawSchedule, formatSchedule, parseSchedule } from "./schedule.ts";

const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe("drawSchedule()", () => {
  it("draws the same for the same seed, and a line that plays it again", () => {
    const property = fc.property(seeds, (seed) => {
      const schedule = drawSchedule(seed);
      assert.deepEqual(drawSchedule(seed), schedule);
      assert.deepEqual(parseSchedule(formatSchedule(schedule)), schedule);
    });
    fc.assert(property);
  });

  it("draws only what can be played, at caches that there are", () => {
    const property = fc.property(seeds, (seed) => {
      const { kinds, upstream, runs } = drawSchedule(seed);
      const caches = cachesOf(kinds);
      for (const { cache, operation, effect, nth } of runs.flatMap(({ faults }) => faults)) {
        assert.ok(nth >= 1);
        if (cache === "upstream") {
          assert.ok(upstream);
          continue;
        }
        const kind = caches.find(({ name }) => name === cache)?.kind;
        assert.ok(kind, cache);
        assert.ok(KINDS[kind].effectsOf(operation).includes(effect), `${operation}: ${effect}`);
        if (operation === "time") assert.ok(isStroke(effect), effect);
      }
    });
    fc.assert(property);
  });

  it("gives each kind its turn, whatever the first seed is", () => {
    const property = fc.property(seeds, (seed) => {
      const next = KIND_NAMES.map((_, turn) => drawSchedule(seed + turn).kinds[0]);
      assert.deepEqual(new Set(next), new Set(KIND_NAMES));
    });
    fc.assert(property);
  });

  it("comes to every command, stroke, kind and pair of kinds", () => {
    const drawn = Array.from({ length: 3_000 }, (_, seed) => drawSchedule(seed));
    const runs = drawn.flatMap((schedule) => schedule.runs);
    const effects = new Set(runs.flatMap(({ faults }) => faults.map(({ effect }) => effect)));
    assert.deepEqual(
      new Set(runs.map(({ command }) => command)),
      new Set(["sync", "push", "exec"]),
    );
    assert.deepEqual(new Set(drawn.map(({ kinds }) => kinds.length)), new Set([1, 2]));
    const pairs = new Set(drawn.map(({ kinds }) => kinds.join()));
    assert.equal(pairs.size, KIND_NAMES.length ** 2);
    for (const stroke of STROKES) assert.ok(effects.has(stroke), stroke);
  });
});

describe("parseSchedule()", () => {
  it("refuses what it cannot play", () => {
    const runs = '"runs":[{"command":"sync","faults":[{"effect":"fire"}]}]';
    const calm = '"runs":[{"command":"sync","faults":[]}]';
    const unknown = [`{"kinds":["file"],${runs}}`, `{"kinds":["ftp"],${calm}}`, `{${calm}}`];
    for (const line of ["", "[]", "{}", '{"runs":[]}', ...unknown]) {
      assert.throws(() => parseSchedule(line), SyntaxError, line);
    }
  });
});
