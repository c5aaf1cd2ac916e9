import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Pace } from "./pace.ts";

const never = new AbortController().signal;
const MIB = 1 << 20;
const PARTS = {
  inOrder: false,
  minBytes: 5 * MIB,
  maxParts: 10_000,
  md5: true,
  lifetimeMs: 300_000,
};
const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** A link of fixed speed under a clock of its own. */
function link(bytesPerSecond: number): { pace: Pace; send: (bytes: number) => Promise<void> } {
  let nowMs = 0;
  const pace = new Pace(PARTS, () => nowMs);
  const send = (bytes: number): Promise<void> =>
    pace.send(bytes, never, async () => {
      nowMs += (bytes / bytesPerSecond) * 1000;
    });
  return { pace, send };
}

/** How many large parts are let out at once. */
async function parallel(pace: Pace): Promise<number> {
  let running = 0;
  const gate = Promise.withResolvers<void>();
  const all = Array.from({ length: 40 }, () =>
    pace.send(8 * MIB, never, async () => {
      running += 1;
      await gate.promise;
    }),
  );
  await settle();
  const seen = running;
  gate.resolve();
  await Promise.all(all);
  return seen;
}

describe("Pace", () => {
  it("begins with parts of 8 MiB, four at once", async () => {
    const pace = new Pace(PARTS);
    assert.equal(pace.partSize(100 * MIB), 8 * MIB);
    assert.equal(await parallel(pace), 4);
  });

  it("makes parts as small as allowed, one at a time, on a slow link", async () => {
    const { pace, send } = link(50_000);
    await send(8 * MIB);
    assert.equal(pace.partSize(100 * MIB), 5 * MIB);
    assert.equal(await parallel(pace), 1);
  });

  it("lets sixteen parts out on a fast link", async () => {
    const { pace, send } = link(100 * MIB);
    await send(8 * MIB);
    assert.equal(await parallel(pace), 16);
  });

  it("stays below 10 000 parts for a path of any size", () => {
    const narSize = 400 * 1024 * 1024 * MIB;
    assert.ok(narSize / new Pace(PARTS).partSize(narSize) < 10_000);
  });

  it("lets tiny parts out whatever else is going on", async () => {
    const { pace, send } = link(1_000);
    await send(8 * MIB);
    const gate = Promise.withResolvers<void>();
    const large = pace.send(8 * MIB, never, () => gate.promise);
    await pace.send(1_000, never, async () => undefined);
    gate.resolve();
    await large;
  });

  it("takes neither idle time nor less than a second for a slow link", async () => {
    let nowMs = 0;
    const pace = new Pace(PARTS, () => nowMs);
    const send = (bytes: number, ms: number): Promise<void> =>
      pace.send(bytes, never, async () => void (nowMs += ms));
    await send(8 * MIB, 80);
    nowMs += 600_000;
    await send(8 * MIB, 80);
    assert.equal(pace.partSize(100 * MIB), 8 * MIB);
    await send(MIB, 900);
    assert.equal(await parallel(pace), 16);
    await send(MIB, 60_000);
    assert.equal(pace.partSize(100 * MIB), 5 * MIB);
  });

  it("frees the place of a part that failed", async () => {
    const { pace, send } = link(1_000);
    await send(8 * MIB);
    await assert.rejects(
      pace.send(8 * MIB, never, () => Promise.reject(new Error("reset"))),
      /reset/,
    );
    await send(8 * MIB);
  });
});
