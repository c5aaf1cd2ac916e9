import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";

import { forEachConcurrent } from "./for-each-concurrent.ts";

const { signal } = new AbortController();

describe("forEachConcurrent()", () => {
  it("runs the task once for every item, at most as many at once as allowed", async () => {
    const done: number[] = [];
    let running = 0;
    let most = 0;
    const items = Array.from({ length: 50 }, (_, index) => index);
    await forEachConcurrent(items, { limit: 7, signal }, async (item) => {
      most = Math.max(most, ++running);
      await nextTurn();
      running--;
      done.push(item);
    });
    assert.deepEqual(
      done.toSorted((a, b) => a - b),
      items,
    );
    assert.equal(most, 7);
  });

  it("throws the first failure, starts nothing more and waits for the rest", async () => {
    const failure = new Error("third");
    const started: number[] = [];
    let finished = 0;
    const run = forEachConcurrent([1, 2, 3, 4, 5, 6], { limit: 3, signal }, async (item, stop) => {
      started.push(item);
      if (item === 3) throw failure;
      while (!stop.aborted) await nextTurn();
      finished++;
    });
    await assert.rejects(run, failure);
    assert.deepEqual([started, finished], [[1, 2, 3], 2]);
  });

  it("throws the reason of the signal", async () => {
    const reason = new Error("stop");
    const stop = new AbortController();
    const run = forEachConcurrent([1, 2, 3], { limit: 1, signal: stop.signal }, async () => {
      stop.abort(reason);
    });
    await assert.rejects(run, reason);
    const late = forEachConcurrent([1], { limit: 1, signal: stop.signal }, () => assert.fail());
    await assert.rejects(late, reason);
  });
});
