import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, it } from "node:test";

import { HostLimit } from "./host-limit.ts";

const { signal } = new AbortController();

/** Lets promises that can go on do so. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("HostLimit", () => {
  it("runs as many at once as it may for each host, the others in order", async () => {
    const limit = new HostLimit(2);
    const running: string[] = [];
    const gates = new Map<string, PromiseWithResolvers<string>>();
    const run = (host: string, name: string): Promise<string> =>
      limit.run(host, signal, () => {
        const gate = Promise.withResolvers<string>();
        gates.set(name, gate);
        running.push(name);
        return gate.promise;
      });
    const results = ["a1", "a2", "a3", "a4", "b1"].map((name) => run(name.slice(0, 1), name));
    assert.deepEqual(running, ["a1", "a2", "b1"]);
    gates.get("a2")?.resolve("two");
    assert.equal(await results[1], "two");
    await settled();
    assert.deepEqual(running, ["a1", "a2", "b1", "a3"]);
    gates.get("a1")?.reject(new Error("no"));
    await assert.rejects(results[0] ?? Promise.resolve(), { message: "no" });
    await settled();
    assert.deepEqual(running, ["a1", "a2", "b1", "a3", "a4"]);
    for (const gate of gates.values()) gate.resolve("done");
    await Promise.allSettled(results);
    const late = run("a", "a5");
    assert.equal(running.at(-1), "a5");
    gates.get("a5")?.resolve("done");
    await late;
  });

  it("lets those leave that are aborted while they wait, and leaves nothing on their signals", async () => {
    const limit = new HostLimit(1);
    const gate = Promise.withResolvers<void>();
    const first = limit.run("a", signal, () => gate.promise);
    const stop = new AbortController();
    const left = limit.run("a", stop.signal, () => assert.fail("it ran"));
    const next = limit.run("a", signal, async () => "next");
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(left, reason);
    await assert.rejects(
      limit.run("a", stop.signal, () => assert.fail("it ran")),
      reason,
    );
    gate.resolve();
    await first;
    assert.equal(await next, "next");
    assert.equal(getEventListeners(stop.signal, "abort").length, 0);
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });
});
