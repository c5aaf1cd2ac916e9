import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, it } from "node:test";

import { orAborted } from "./or-aborted.ts";

describe("orAborted()", () => {
  it("settles as its promise does, and leaves no listener behind", async () => {
    const { signal } = new AbortController();
    assert.equal(await orAborted(Promise.resolve(1), signal), 1);
    await assert.rejects(orAborted(Promise.reject(new Error("no")), signal), { message: "no" });
    assert.deepEqual(getEventListeners(signal, "abort"), []);
  });

  it("rejects with the reason of the signal, aborted before or meanwhile", async () => {
    const stopped = new AbortController();
    const waiting = orAborted(new Promise(() => undefined), stopped.signal);
    stopped.abort(new Error("stopped"));
    await assert.rejects(waiting, { message: "stopped" });
    await assert.rejects(orAborted(Promise.resolve(1), stopped.signal), { message: "stopped" });
  });
});
