import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyPath } from "../../test/toy-paths.ts";
import type { FoundLog } from "../store/build-log.ts";
import { readBuildTimes } from "./build-times.ts";

const { signal } = new AbortController();
const HOUR_MS = 3600_000;
const START_MS = 1_796_000_000_000;

function log(buildMs: number, change: Partial<FoundLog> = {}): FoundLog {
  const times = { birthMs: START_MS, writtenMs: START_MS + buildMs };
  return { file: "/log", isCompressed: true, sizeBytes: 14, ...times, ...change };
}

async function timeOf(found: FoundLog | undefined): Promise<unknown> {
  const derivation = toyPath("app.drv");
  const store = { findBuildLog: async () => found };
  const times = await readBuildTimes(new Set([derivation, toyPath("no-deriver")]), store, signal);
  return times.has(derivation) ? times.get(derivation) : "no log";
}

describe("readBuildTimes()", () => {
  it("takes the time from the birth of a log to its last write", async () => {
    assert.equal(await timeOf(log(90_000.4)), 90_000);
    assert.equal(await timeOf(log(0)), 0);
  });

  it("tells a log that says nothing from none", async () => {
    const silent = [
      log(-1),
      log(24 * HOUR_MS + 1),
      log(90_000, { sizeBytes: 0 }),
      log(90_000, { birthMs: 0 }),
      { fault: "it cannot be read" },
    ];
    for (const found of silent) assert.equal(await timeOf(found), undefined);
    assert.equal(await timeOf(undefined), "no log");
  });
});
