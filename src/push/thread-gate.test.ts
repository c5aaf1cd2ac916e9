import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";

import { createGate, insideGate, shutGate } from "./thread-gate.ts";

/** A thread that makes compressors as fast as it can. */
const BUSY = `
  import { parentPort } from "node:worker_threads";
  import { zstdCompressSync } from "node:zlib";
  import { insideGate } from ${JSON.stringify(new URL("./thread-gate.ts", import.meta.url).href)};
  parentPort.postMessage("ready");
  for (;;) insideGate(() => zstdCompressSync(Buffer.alloc(1000)));
`;

describe("shutGate()", () => {
  it("lets a thread end only outside, where that does not abort the process", async () => {
    for (let round = 0; round < 25; round++) {
      const gate = createGate();
      const worker = new Worker(BUSY, { eval: true, workerData: gate });
      await once(worker, "message");
      await sleep(Math.random() * 3);
      await shutGate(gate);
      assert.equal(await worker.terminate(), 1);
    }
  });
});

describe("insideGate()", () => {
  it("runs the task, in the main thread without a gate", () => {
    assert.equal(
      insideGate(() => 7),
      7,
    );
  });
});
