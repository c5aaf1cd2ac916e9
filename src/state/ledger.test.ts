import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { withLedger } from "../../test/with-ledger.ts";
import type { StorePath } from "../nix/store-path.ts";
import { parseStorePath } from "../nix/store-path.ts";

const A = parseStorePath("/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-a");
const B = parseStorePath("/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-b");
const MINUTE = 60_000;
const TROUBLE = { code: "NETWORK", message: "it is down", hint: "Wait." };

const wish = (cache: string, ...paths: StorePath[]): Map<string, Set<StorePath>> =>
  new Map([[cache, new Set(paths)]]);

describe("Ledger", () => {
  it("waits twice as long after each failure, up to six hours, and starts over after a success", () =>
    withLedger((ledger) => {
      ledger.want(wish("mine", A), 0);
      const delays: number[] = [];
      const failed = { path: A, state: "failing", trouble: TROUBLE } as const;
      for (let tries = 0; tries < 14; tries += 1) {
        ledger.record("mine", [failed], 1000);
        ledger.cacheFailed("mine", TROUBLE, 1000);
        const [entry] = ledger.entries();
        assert.equal(entry?.nextTry, ledger.caches()[0]?.nextAt);
        assert.deepEqual([entry?.failingSince, entry?.tries], [1000, tries + 1]);
        delays.push(((entry?.nextTry ?? 0) - 1000) / MINUTE);
      }
      assert.deepEqual(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360, 360, 360]);
      ledger.record("mine", [{ path: A, state: "pushed", byUs: true }], 2000);
      ledger.cacheAnswered("mine", { at: 2000, nextAt: 9000 });
      const [entry] = ledger.entries();
      assert.deepEqual([entry?.tries, entry?.nextTry, entry?.trouble], [0, undefined, undefined]);
      assert.deepEqual([entry?.pushedAt, entry?.seenAt], [2000, 2000]);
      assert.equal(ledger.caches()[0]?.failingSince, undefined);
      ledger.cacheFailed("mine", TROUBLE, 3000);
      assert.equal(ledger.caches()[0]?.nextAt, 3000 + MINUTE);
    }));

  it("keeps since when a cache fails, and asks it later after the second time", () =>
    withLedger((ledger) => {
      const now = Date.UTC(2026, 0, 1);
      ledger.want(wish("mine", A), now);
      ledger.cacheFailed("mine", TROUBLE, now);
      ledger.cacheFailed("mine", TROUBLE, now + MINUTE);
      const [mine] = ledger.caches();
      assert.deepEqual([mine?.failingSince, mine?.nextAt], [now, now + 3 * MINUTE]);
    }));

  it("forgets builds that waited for too long, and none for a clock that was wrong", () =>
    withLedger((ledger) => {
      const now = Date.UTC(2026, 0, 1);
      ledger.addBuilds([A], 1000);
      ledger.addBuilds([B], now + 10 * MINUTE);
      assert.equal(ledger.dropOldBuilds({ now, waitsMs: MINUTE }), 0);
      assert.deepEqual(ledger.builds(), [A, B]);
      const later = { now: now + 2 * MINUTE, waitsMs: MINUTE };
      assert.equal(ledger.dropOldBuilds(later), 2);
      assert.deepEqual(ledger.builds(), []);
    }));

  it("keeps why, and what to do", () =>
    withLedger((ledger) => {
      ledger.want(wish("mine", A), 2);
      ledger.cacheFailed("mine", TROUBLE, 2);
      ledger.record("mine", [{ path: A, state: "failing", trouble: TROUBLE }], 2);
      assert.deepEqual(ledger.caches()[0]?.trouble, TROUBLE);
      assert.deepEqual(ledger.entries()[0]?.trouble, TROUBLE);
    }));

  it("keeps what it knows of a path that stays wanted, and forgets the others", () =>
    withLedger((ledger) => {
      ledger.want(wish("mine", A, B), 1);
      ledger.record("mine", [{ path: A, state: "pushed" }], 2);
      ledger.want(wish("mine", A), 3);
      assert.deepEqual(
        ledger.entries().map(({ path, state, waitingSince }) => [path, state, waitingSince]),
        [[A, "pushed", 1]],
      );
      ledger.record("mine", [{ path: A, state: "waiting" }], 4);
      assert.equal(ledger.entries()[0]?.waitingSince, 4, "it was evicted");
      ledger.want(wish("other", A), 5);
      assert.deepEqual(
        ledger.entries().map(({ cache, state }) => [cache, state]),
        [["other", "waiting"]],
      );
    }));

  it("records nothing of what fails half-way", () =>
    withLedger((ledger) => {
      ledger.want(wish("mine", A, B), 1);
      const bad = { path: B, state: undefined as unknown as "held" };
      assert.throws(() => ledger.record("mine", [{ path: A, state: "pushed" }, bad], 2));
      assert.deepEqual(
        ledger.entries().map(({ state }) => state),
        ["waiting", "waiting"],
      );
    }));
});
