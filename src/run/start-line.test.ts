import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { StartLine } from "./start-line.ts";

const { signal } = new AbortController();
const GOES = { isCalledOff: false };

describe("StartLine", () => {
  it("lets all start together, and calls all off where one is", async () => {
    const line = new StartLine(3);
    const starts = [line.arrive(GOES, signal), line.arrive({ isCalledOff: true }, signal)];
    line.leave();
    assert.deepEqual(await Promise.all(starts), [true, true]);
  });

  it("waits for all, and stops when it is told to", async () => {
    const line = new StartLine(3);
    const stop = new AbortController();
    let hasStarted = false;
    const start = line.arrive(GOES, stop.signal).finally(() => (hasStarted = true));
    line.leave();
    await new Promise((resolve) => void setImmediate(resolve));
    assert.equal(hasStarted, false);
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(start, reason);
    await assert.rejects(line.arrive(GOES, stop.signal), reason);
  });
});
