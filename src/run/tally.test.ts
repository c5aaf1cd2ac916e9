import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseStorePath } from "../nix/store-path.ts";
import type { Decision, Plan } from "../plan/plan.ts";
import { Tally } from "./tally.ts";

const A = parseStorePath("/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-a");
const B = parseStorePath("/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-b");
const FAILURE = { code: "NETWORK", message: "it is down" } as const;

function planOf(actions: Readonly<Record<string, Decision["action"]>>): Plan {
  const paths = Object.entries(actions).map(([path, action]) => ({ path, action, cache: "mine" }));
  return { paths } as unknown as Plan;
}

function pushed(path: typeof A, fileSize: number): Parameters<Tally["count"]>[0] {
  const about = { event: "pushed", cache: "mine", path, narSize: 9, fileSize } as const;
  return { ...about, compression: "zstd", durationMs: 1 };
}

describe("Tally", () => {
  it("counts what is begun and never heard of again as failed", () => {
    const tally = new Tally();
    tally.begin("mine", [A]);
    tally.plan({ plan: planOf({ [A]: "push", [B]: "push" }) });
    assert.equal(tally.summary().failed, 2);
    const { failed, unfinished } = tally.summary({ isInterrupted: true });
    assert.deepEqual([failed, unfinished], [0, 2]);
  });

  it("counts nothing as begun of a plan that is called off, and leaves other plans alone", () => {
    const tally = new Tally();
    tally.begin("other", [A]);
    tally.plan({ plan: planOf({ [A]: "push", [B]: "held" }), isCalledOff: true });
    const { failed, held } = tally.summary();
    assert.deepEqual([failed, held], [1, 1]);
  });

  it("counts a path once, by what became of it in the end", () => {
    const tally = new Tally();
    tally.plan({ plan: planOf({ [A]: "push", [B]: "push" }) });
    tally.count(pushed(A, 5));
    tally.count({ event: "failed", cache: "mine", path: B, error: FAILURE });
    tally.plan({ plan: planOf({ [A]: "present", [B]: "push" }) });
    tally.count(pushed(B, 7));
    const { durationMs, ...counts } = tally.summary();
    assert.ok(durationMs >= 0);
    assert.deepEqual(counts, {
      event: "summary",
      pushed: 2,
      present: 0,
      upstream: 0,
      held: 0,
      excluded: 0,
      failed: 0,
      unfinished: 0,
      uploadedBytes: 12,
    });
  });

  it("keeps caches apart, and counts a pin as failed until it is made", () => {
    const tally = new Tally();
    const about = { name: "keep", path: A };
    const reason = { code: "reference-failed", text: "" } as const;
    tally.count({ event: "held", cache: "other", path: A, reason });
    tally.count({ event: "pin-failed", cache: "mine", ...about, error: FAILURE });
    tally.count({ event: "pin-failed", cache: "other", ...about, error: FAILURE });
    tally.count({ event: "pinned", cache: "mine", ...about });
    const { held, failed } = tally.summary();
    assert.deepEqual([held, failed], [1, 1]);
  });
});
