import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Budget } from "./budget.ts";

const never = new AbortController().signal;

/** Lets everything that is ready run. */
const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe("Budget", () => {
  it("admits first come, first served, also where a later one would fit", async () => {
    const budget = new Budget(10);
    const order: string[] = [];
    const giveBack = await budget.take(8, never);
    const big = budget.take(5, never).then((done) => (order.push("big"), done));
    const small = budget.take(1, never).then((done) => (order.push("small"), done));
    await settle();
    assert.deepEqual(order, []);
    giveBack();
    await Promise.all([big, small]);
    assert.deepEqual(order, ["big", "small"]);
  });

  it("admits an amount above the capacity alone", async () => {
    const budget = new Budget(10);
    const giveBack = await budget.take(25, never);
    let admitted = false;
    const next = budget.take(1, never).then((done) => ((admitted = true), done));
    await settle();
    assert.equal(admitted, false);
    giveBack();
    await next;
  });

  it("counts an amount given back twice once", async () => {
    const budget = new Budget(2);
    const one = await budget.take(1, never);
    await budget.take(1, never);
    one();
    one();
    await budget.take(1, never);
    let admitted = false;
    void budget.take(1, never).then(() => (admitted = true));
    await settle();
    assert.equal(admitted, false);
  });

  it("lets go of a waiter that was aborted and serves the one behind it", async () => {
    const budget = new Budget(2);
    await budget.take(1, never);
    const aborted = new AbortController();
    const large = budget.take(2, aborted.signal);
    const behind = budget.take(1, never);
    aborted.abort(new Error("enough"));
    await assert.rejects(large, /enough/);
    await behind;
    await assert.rejects(budget.take(1, aborted.signal), /enough/);
  });

  it("forgets the signal of a waiter that was served", async () => {
    const budget = new Budget(1);
    const giveBack = await budget.take(1, never);
    const served = new AbortController();
    const first = budget.take(1, served.signal);
    const second = budget.take(1, never);
    giveBack();
    const giveBackAgain = await first;
    served.abort(new Error("enough"));
    giveBackAgain();
    await second;
  });

  it("serves waiters when it grows", async () => {
    const budget = new Budget(1);
    await budget.take(1, never);
    const waiting = budget.take(1, never);
    budget.resize(2);
    await waiting;
  });
});
