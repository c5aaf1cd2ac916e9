import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { LargeTurns, type Turn } from "./large-turns.ts";

const { signal } = new AbortController();

/** Settled turns so far, in the order in which they were asked for. */
function asked(turns: LargeTurns, count: number): { readonly got: (Turn | undefined)[] } {
  const got: (Turn | undefined)[] = Array.from({ length: count }, () => undefined);
  for (let at = 0; at < count; at++) void turns.take(signal).then((turn) => (got[at] = turn));
  return { got };
}

const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe("LargeTurns", () => {
  it("gives one path all threads, and the next ones a thread each", async () => {
    const turns = new LargeTurns(2);
    const { got } = asked(turns, 3);
    await settled();
    assert.deepEqual(
      got.map((turn) => turn?.threads),
      [2, undefined, undefined],
    );
    got[0]?.release();
    await settled();
    assert.deepEqual(
      got.map((turn) => turn?.threads),
      [2, 1, 1],
    );
  });

  it("gives the last path all threads that are free", async () => {
    const turns = new LargeTurns(4);
    const first = await turns.take(signal);
    const { got } = asked(turns, 5);
    first.release();
    await settled();
    assert.deepEqual(
      got.map((turn) => turn?.threads),
      [1, 1, 1, 1, undefined],
    );
    got[0]?.release();
    got[1]?.release();
    got[2]?.release();
    await settled();
    // The fifth began when four were left.
    assert.equal(got[4]?.threads, 1);
    got[3]?.release();
    got[4]?.release();
    assert.equal((await turns.take(signal)).threads, 4);
  });

  it("gives threads back once, and none to a path that is given up", async () => {
    const turns = new LargeTurns(2);
    const first = await turns.take(signal);
    const stop = new AbortController();
    const stopped = turns.take(stop.signal);
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(stopped, reason);
    await assert.rejects(turns.take(stop.signal), reason);
    first.release();
    first.release();
    const next = await turns.take(signal);
    assert.equal(next.threads, 2);
  });
});
