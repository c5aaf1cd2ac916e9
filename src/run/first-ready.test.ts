import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { firstReady } from "./first-ready.ts";

const never = new Promise<never>(() => undefined);
// Such a promise alone keeps no process.
const alive = setInterval(() => undefined, 1_000);

describe("firstReady()", { timeout: 20_000 }, () => {
  it("waits for all while none has succeeded, and for none that hangs after that", async () => {
    const failing = Promise.reject(new Error("no"));
    const slow = Promise.withResolvers<number>();
    const standing = firstReady([never, failing, slow.promise]);
    setImmediate(() => slow.resolve(1));
    const { ends, late } = await standing;
    assert.deepEqual(ends.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
    assert.deepEqual(late, [never]);
    clearInterval(alive);
  });

  it("does not wait where all have ended, or there is none", async () => {
    const startMs = performance.now();
    const failed = await firstReady([Promise.reject(new Error("no"))]);
    assert.deepEqual([failed.ends.length, failed.late.length], [1, 0]);
    assert.deepEqual(await firstReady([]), { ends: [], late: [] });
    assert.equal((await firstReady([Promise.resolve(1)])).ends.length, 1);
    assert.ok(performance.now() - startMs < 1_500);
  });
});
