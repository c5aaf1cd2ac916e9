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
    const stopSecond = onAbort(signal, () => told.push("second"));
    const stopThird = onAbort(signal, () => told.push("third"));
    onAbort(signal, stopThird);
    stopSecond();
    assert.equal(getEventListeners(signal, "abort").length, 1);
    stopped.abort();
    assert.deepEqual(told, ["first", "third"]);
  });

  it("leaves no listener behind once all have stopped, and listens again", () => {
    const stopped = new AbortController();
    const { signal } = stopped;
    let told = 0;
    const stop = onAbort(signal, () => assert.fail());
    stop();
    stop();
    assert.deepEqual(getEventListeners(signal, "abort"), []);
    const stopAgain = onAbort(signal, () => (told += 1));
    stop();
    stopped.abort();
    stopAgain();
    assert.equal(told, 1);
  });
});
