import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Slots } from "./slots.ts";

describe("Slots", () => {
  it("never runs more than its number at once, and all of them in the end", async () => {
    const slots = new Slots(3);
    let running = 0;
    let most = 0;
    const done: number[] = [];
    const tasks = Array.from({ length: 20 }, (_, index) =>
      slots.run(async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        done.push(index);
      }),
    );
    await Promise.all(tasks);
    assert.equal(most, 3);
    assert.deepEqual(
      done.toSorted((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i),
    );
  });

  it("gives a slot back when its task fails", async () => {
    const slots = new Slots(1);
    await assert.rejects(
      slots.run(async () => Promise.reject(new Error("no"))),
      /no/,
    );
    assert.equal(await slots.run(async () => 1), 1);
  });
});
