import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { KeyedLock } from "./keyed-lock.ts";

describe("KeyedLock", () => {
  it("runs tasks of one key in order, others meanwhile, and goes on after a failure", async () => {
    const lock = new KeyedLock();
    const events: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = lock.run("a", async () => {
      await gate.promise;
      events.push("first");
      throw new Error("first failed");
    });
    const second = lock.run("a", async () => events.push("second"));
    const other = lock.run("b", async () => events.push("other"));
    await other;
    gate.resolve();
    await assert.rejects(first, /first failed/);
    await second;
    assert.deepEqual(events, ["other", "first", "second"]);
  });
});
