import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { FaultStep } from "./fault-step.ts";
import { drawSchedule } from "./schedule.ts";
import { shrinkItems, shrinkSchedule } from "./shrink.ts";

describe("shrinkItems()", () => {
  it("finds exactly the items that a failure needs, in their order", async () => {
    const lists = fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { maxLength: 24 });
    const property = fc.asyncProperty(
      lists,
      fc.infiniteStream(fc.boolean()),
      async (all, draws) => {
        const needed = all.filter(() => draws.next().value === true);
        const found = await shrinkItems(all, async (some) =>
          needed.every((one) => some.includes(one)),
        );
        assert.deepEqual(found, needed);
      },
    );
    await fc.assert(property);
  });

  it("leaves nothing out that alone could be left out, whatever the failure is", async () => {
    const sets = fc.array(fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 1 }), {
      minLength: 1,
    });
    const property = fc.asyncProperty(sets, async (reasons) => {
      const fails = (some: readonly number[]): boolean =>
        reasons.some((reason) => reason.every((one) => some.includes(one)));
      const found = await shrinkItems([0, 1, 2, 3, 4, 5, 6, 7], async (some) => fails(some));
      assert.ok(fails(found));
      for (const one of found) assert.ok(!fails(found.filter((other) => other !== one)));
    });
    await fc.assert(property);
  });

  it("returns what it has once it may not go on", async () => {
    let tries = 0;
    const stillFails = async (): Promise<boolean> => ++tries > 0;
    const found = await shrinkItems([1, 2, 3, 4, 5, 6, 7, 8], stillFails, () => tries < 1);
    assert.deepEqual(found, [5, 6, 7, 8]);
  });
});

describe("shrinkSchedule()", () => {
  it("keeps the runs and faults that a failure needs, and what runs them", async () => {
    const plain = { cache: "one", operation: "put", times: 1, effect: "500" } as const;
    const fault = (nth: number): FaultStep => ({ ...plain, nth });
    const schedule = {
      ...drawSchedule(1),
      runs: [
        { command: "sync", faults: [fault(1), fault(2)] },
        { command: "exec", faults: [fault(3)] },
        { command: "push", faults: [fault(4), fault(5)] },
      ],
    } as const;
    const smallest = await shrinkSchedule(schedule, async ({ runs }) => {
      const has = (command: string, nth: number): boolean =>
        runs.some((run) => run.command === command && run.faults.some((one) => one.nth === nth));
      return has("sync", 2) && has("push", 4);
    });
    assert.deepEqual(smallest, {
      ...schedule,
      runs: [
        { command: "sync", faults: [fault(2)] },
        { command: "push", faults: [fault(4)] },
      ],
    });
  });
});
