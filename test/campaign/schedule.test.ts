import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { handlerOf, STROKES } from "./effects.ts";
import { drawSchedule, formatSchedule, parseSchedule } from "./schedule.ts";

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
      const { caches, upstream, runs } = drawSchedule(seed);
      for (const { cache, operation, effect, nth } of runs.flatMap(({ faults }) => faults)) {
        assert.ok(cache === "one" || (cache === "two" ? caches === 2 : upstream), cache);
        assert.ok(nth >= 1);
        const isStroke = STROKES.some((stroke) => stroke === effect);
        const isCue = operation === "any" || operation === "time";
        const found = handlerOf(isCue ? "unknown" : operation, effect);
        assert.notEqual(found !== undefined, isStroke, effect);
      }
    });
    fc.assert(property);
  });

  it("comes to every command, effect and number of caches", () => {
    const drawn = Array.from({ length: 3_000 }, (_, seed) => drawSchedule(seed));
    const runs = drawn.flatMap((schedule) => schedule.runs);
    const effects = new Set(runs.flatMap(({ faults }) => faults.map(({ effect }) => effect)));
    assert.deepEqual(
      new Set(runs.map(({ command }) => command)),
      new Set(["sync", "push", "exec"]),
    );
    assert.deepEqual(new Set(drawn.map(({ caches }) => caches)), new Set([1, 2]));
    for (const stroke of STROKES) assert.ok(effects.has(stroke), stroke);
  });
});

describe("parseSchedule()", () => {
  it("refuses what it cannot play", () => {
    const unknown = '{"caches":1,"runs":[{"command":"sync","faults":[{"effect":"fire"}]}]}';
    for (const line of ["", "[]", "{}", '{"runs":[]}', unknown]) {
      assert.throws(() => parseSchedule(line), SyntaxError, line);
    }
  });
});
