import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";

import * as v from "valibot";

import { readBody, readJson } from "./request-body.ts";

const { signal } = new AbortController();

/** A request whose body arrives in pieces of `sizeBytes`. */
function requestOf(text: string, sizeBytes: number): Request {
  const bytes = Buffer.from(text);
  let at = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.subarray(at, (at += sizeBytes)));
    },
  });
  return new Request("http://x/", { method: "POST", body, duplex: "half" });
}

function isTimeout(error: Error): boolean {
  return error.cause instanceof DOMException && error.cause.name === "TimeoutError";
}

describe("readJson()", () => {
  const limits = { signal, idleMs: 60_000, timeoutMs: 60_000 };

  it("reads a body whatever the pieces it comes in", async () => {
    const text = JSON.stringify(["ä€😀".repeat(10), ""]);
    const list = v.array(v.string());
    for (let sizeBytes = 1; sizeBytes < 100; sizeBytes++) {
      const found = await readJson(requestOf(text, sizeBytes), list, limits);
      assert.deepEqual(found, JSON.parse(text));
    }
  });

  it("refuses more than its bound, however it comes", async () => {
    for (const sizeBytes of [1, 100, 102]) {
      const request = requestOf(`"${"x".repeat(100)}"`, sizeBytes);
      const reading = readJson(request, v.string(), { ...limits, maxBytes: 101 });
      await assert.rejects(reading, { status: 413 });
    }
  });

  it("waits for no byte longer than it is told, and for its reader as long as that takes", async () => {
    const late = new Request("http://x/", {
      method: "POST",
      body: new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from("[")) }),
      duplex: "half",
    });
    const read = readBody(late, { signal, idleMs: 50, maxBytes: 100 });
    assert.equal((await read.next()).value?.length, 1);
    await sleep(100);
    await assert.rejects(read.next(), isTimeout);
  });

  it("waits for no body longer than it is told, however steadily its bytes come", async () => {
    const body = new ReadableStream({
      async pull(controller) {
        await sleep(5);
        controller.enqueue(Buffer.from(" "));
      },
    });
    const endless = new Request("http://x/", { method: "POST", body, duplex: "half" });
    await assert.rejects(readJson(endless, v.null(), { ...limits, timeoutMs: 50 }), isTimeout);
  });

  it("keeps no piece: each takes far more memory than the byte that it may be", async () => {
    let pieces = 0;
    const body = new ReadableStream({
      async pull(controller) {
        await setImmediate(); // as the network does, and the collector needs it
        if (pieces === 400) controller.close();
        else controller.enqueue(Buffer.alloc(1 << 20, "1").subarray(0, 1));
        pieces += 1;
      },
    });
    const request = new Request("http://x/", { method: "POST", body, duplex: "half" });
    const { arrayBuffers } = process.memoryUsage();
    await readJson(request, v.number(), limits);
    const grownBy = process.memoryUsage().arrayBuffers - arrayBuffers;
    assert.ok(grownBy < 200 << 20, `${grownBy} bytes`);
  });
});
