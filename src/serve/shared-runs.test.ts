import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";

import { SharedRuns } from "./shared-runs.ts";

describe("SharedRuns", () => {
  it("has those who ask while it runs share the next run", async () => {
    const gates: PromiseWithResolvers<void>[] = [];
    const runs = new SharedRuns(async () => {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
    });
    const events: string[] = [];
    const ask = async (name: string): Promise<void> => {
      await runs.run();
      events.push(name);
    };
    const asked = [ask("a"), ask("b")];
    await setImmediate();
    assert.equal(gates.length, 1);
    asked.push(ask("c"), ask("d"));
    await setImmediate();
    assert.equal(gates.length, 1, "two never run at once");
    gates[0]?.resolve();
    await setImmediate();
    assert.deepEqual(events, ["a", "b"]);
    assert.equal(gates.length, 2);
    gates[1]?.resolve();
    await Promise.all(asked);
    assert.deepEqual(events, ["a", "b", "c", "d"]);
  });

  it("tells a failure to those who waited for that run, and goes on", async () => {
    let count = 0;
    const runs = new SharedRuns(async () => {
      count += 1;
      await setImmediate();
      if (count === 1) throw new Error("first failed");
    });
    const first = runs.run();
    await Promise.resolve().then(() => undefined);
    await Promise.resolve();
    const second = runs.run();
    await assert.rejects(first, /first failed/);
    await second;
    await runs.run();
    assert.equal(count, 3);
  });
});
