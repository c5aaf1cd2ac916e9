import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, it } from "node:test";

import { onAbort } from "./on-abort.ts";

describe("onAbort()", () => {
  it("calls all that listen, and none that has stopped, by one listener of the signal", () => {
    const stopped = new AbortController();
    const { signal } = stopped;
    const told: string[] = [];
    onAbort(signal, () => told.push("first"));
    const second = onAbort(signal, () => told.push("second"));
    const third = onAbort(signal, () => told.push("third"));
    onAbort(signal, () => third[Symbol.dispose]());
    second[Symbol.dispose]();
    assert.equal(getEventListeners(signal, "abort").length, 1);
    stopped.abort();
    assert.deepEqual(told, ["first", "third"]);
  });

  it("leaves no listener behind once all have stopped, and listens again", () => {
    const stopped = new AbortController();
    const { signal } = stopped;
    let told = 0;
    const first = onAbort(signal, () => assert.fail());
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    assert.deepEqual(getEventListeners(signal, "abort"), []);
    const again = onAbort(signal, () => (told += 1));
    first[Symbol.dispose]();
    stopped.abort();
    again[Symbol.dispose]();
    assert.equal(told, 1);
  });

  it("calls at once where it is over already", () => {
    let told = 0;
    onAbort(AbortSignal.abort(), () => (told += 1))[Symbol.dispose]();
    assert.equal(told, 1);
  });
});
