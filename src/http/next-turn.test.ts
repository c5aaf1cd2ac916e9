import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { nextTurn } from "./next-turn.ts";

describe("nextTurn()", () => {
  it("settles for all of a turn together, and for those of the next after them", async () => {
    const told: string[] = [];
    const first = [nextTurn(), nextTurn()].map(async (turn, at) => {
      await turn;
      told.push(`first ${at}`);
    });
    await first[0];
    const second = nextTurn().then(() => told.push("second"));
    setImmediate(() => told.push("later"));
    await Promise.all([...first, second]);
    assert.deepEqual(told, ["first 0", "first 1", "second"]);
  });
});
