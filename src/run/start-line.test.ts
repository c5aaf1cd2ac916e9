import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { StartLine } from "./start-line.ts";

const { signal } = new AbortController();
const TAKES = { takes: true, isCalledOff: false };
const WAITS = { waitsForAll: true };
const HURRIES = { waitsForAll: false };

describe("StartLine", () => {
  it("lets all start together, and counts those that take something", async () => {
    const line = new StartLine(3, WAITS);
    const starts = [
      line.arrive(TAKES, signal),
      line.arrive({ takes: false, isCalledOff: true }, signal),
    ];
    line.leave();
    assert.deepEqual(await Promise.all(starts), [
      { shares: 1, isCalledOff: true },
      { shares: 1, isCalledOff: true },
    ]);
  });

  it("waits two seconds for one that hangs, which counts as taking", async ({ mock }) => {
    mock.timers.enable({ apis: ["setTimeout"] });
    const line = new StartLine(2, HURRIES);
    const start = line.arrive(TAKES, signal);
    mock.timers.tick(2_000);
    assert.deepEqual(await start, { shares: 2, isCalledOff: false });
  });

  it("waits for all where that is asked for, and stops when it is told to", async ({ mock }) => {
    mock.timers.enable({ apis: ["setTimeout"] });
    const line = new StartLine(2, WAITS);
    const stop = new AbortController();
    const start = line.arrive(TAKES, stop.signal);
    mock.timers.tick(60_000);
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(start, reason);
    await assert.rejects(line.arrive(TAKES, stop.signal), reason);
  });
});
