import assert from "node:assert/strict";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, it } from "node:test";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";

import * as v from "valibot";

import { readBody, readJson } from "./request-body.ts";

/** A request whose body is yet to arrive. */
function incomingRequest(): IncomingMessage {
  return new IncomingMessage(new Socket());
}

/** A request whose body arrives in pieces of `sizeBytes`. */
function requestOf(text: string, sizeBytes: number): IncomingMessage {
  const incoming = incomingRequest();
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += sizeBytes) {
    incoming.push(bytes.subarray(at, at + sizeBytes));
  }
  incoming.push(null);
  return incoming;
}

function isTimeout(error: Error): boolean {
  return error.cause instanceof DOMException && error.cause.name === "TimeoutError";
}

describe("readJson()", () => {
  const limits = { idleMs: 60_000, timeoutMs: 60_000 };

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
    const announced = incomingRequest();
    announced.headers["content-length"] = "102";
    const reading = readJson(announced, v.string(), { ...limits, maxBytes: 101 });
    await assert.rejects(reading, { status: 413 });
  });

  it("waits for no body longer than it is told, however steadily its bytes come", async () => {
    const endless = incomingRequest();
    const pushing = setInterval(() => endless.push(" "), 5);
    await assert.rejects(readJson(endless, v.null(), { ...limits, timeoutMs: 50 }), isTimeout);
    clearInterval(pushing);
  });

  it("keeps no piece: each takes far more memory than the byte that it may be", async () => {
    const incoming = incomingRequest();
    const { arrayBuffers } = process.memoryUsage();
    const read = readJson(incoming, v.number(), limits);
    for (let pieces = 0; pieces < 400; pieces += 1) {
      await setImmediate(); // as the network does, and the collector needs it
      incoming.push(Buffer.alloc(1 << 20, "1").subarray(0, 1));
    }
    incoming.push(null);
    await read;
    const grownBy = process.memoryUsage().arrayBuffers - arrayBuffers;
    assert.ok(grownBy < 200 << 20, `${grownBy} bytes`);
  });
});

describe("readBody()", () => {
  const limits = { idleMs: 60_000, maxBytes: 100 };

  it("waits for no byte longer than it is told, and for its reader as long as that takes", async () => {
    const late = incomingRequest();
    late.push("[");
    let taken = 0;
    const startMs = performance.now();
    const reading = readBody(late, { ...limits, idleMs: 50 }, async (chunk) => {
      taken += chunk.length;
      await sleep(150);
    });
    await assert.rejects(reading, isTimeout);
    assert.ok(performance.now() - startMs >= 195);
    assert.equal(taken, 1);
  });

  it("hands nothing over before its reader is done with what it has, and the end last", async () => {
    const incoming = incomingRequest();
    const events: string[] = [];
    incoming.push("a");
    const reading = readBody(incoming, limits, async (chunk) => {
      events.push(`begin ${chunk.toString()}`);
      await setImmediate();
      await setImmediate();
      events.push(`end ${chunk.toString()}`);
    });
    await setImmediate();
    incoming.push("b");
    incoming.push(null);
    await reading;
    assert.deepEqual(events, ["begin a", "end a", "begin b", "end b"]);
  });

  it("fails as its reader does, at once or later", async () => {
    const failure = new Error("no room");
    const now = readBody(requestOf("abc", 1), limits, () => {
      throw failure;
    });
    await assert.rejects(now, failure);
    await assert.rejects(
      readBody(requestOf("abc", 3), limits, () => Promise.reject(failure)),
      failure,
    );
  });

  it("ends when the client goes away, before or meanwhile", async () => {
    const incoming = incomingRequest();
    const reading = readBody(incoming, limits, () => undefined);
    incoming.destroy();
    await assert.rejects(reading, { status: 400, message: /went away/ });
    await assert.rejects(
      readBody(incoming, limits, () => undefined),
      { status: 400 },
    );
  });
});
