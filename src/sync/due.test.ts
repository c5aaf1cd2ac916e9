import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { withLedger } from "../../test/with-ledger.ts";
import { parseConfig } from "../config/config.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import type { Ledger } from "../state/ledger.ts";
import { digestOf, dueTimes, nextTry, plausibleTime, type SyncInput } from "./due.ts";
import { standing } from "./standing.ts";

const A = parseStorePath("/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-a");
const B = parseStorePath("/nix/store/7k3i624w0rfrvcrbbdrw0zrvasywxmz4-b");
const NOW = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const DOWN = { code: "NETWORK", message: "it is down" };
const REFUSED = { code: "CACHE_REFUSED", message: "no" };
const CORRUPT = { code: "STORE_PATH_CORRUPT", message: "other bytes" };

function want(ledger: Ledger, wanted: Readonly<Record<string, readonly StorePath[]>>): void {
  const sets = Object.entries(wanted).map(([name, paths]) => [name, new Set(paths)] as const);
  ledger.want(new Map(sets), NOW);
}

describe("dueTimes()", () => {
  it("has a new path, and a cache that nobody asked, due at once", () =>
    withLedger((ledger) => {
      assert.equal(nextTry(ledger, NOW), undefined);
      want(ledger, { mine: [A], other: [A] });
      ledger.cacheAnswered("mine", { at: NOW, nextAt: NOW + 5 * MINUTE });
      assert.deepEqual(
        [...dueTimes(ledger, NOW)],
        [
          ["mine", 0],
          ["other", 0],
        ],
      );
    }));

  it("asks a cache again when it is time, although all is there", () =>
    withLedger((ledger) => {
      want(ledger, { mine: [A] });
      ledger.record("mine", [{ path: A, state: "pushed" }], NOW);
      ledger.cacheAnswered("mine", { at: NOW, nextAt: NOW + 5 * MINUTE });
      assert.equal(nextTry(ledger, NOW), NOW + 5 * MINUTE);
    }));

  it("tries a path that failed by itself before its cache is asked again", () =>
    withLedger((ledger) => {
      want(ledger, { mine: [A, B] });
      ledger.record("mine", [{ path: A, state: "pushed" }], NOW);
      ledger.record("mine", [{ path: B, state: "failing", trouble: CORRUPT }], NOW);
      ledger.cacheAnswered("mine", { at: NOW, nextAt: NOW + 60 * MINUTE });
      assert.equal(nextTry(ledger, NOW), NOW + MINUTE);
    }));

  it("has all paths of a failing cache wait for it, new ones too", () =>
    withLedger((ledger) => {
      want(ledger, { mine: [A] });
      ledger.cacheFailed("mine", DOWN, NOW);
      want(ledger, { mine: [A, B] });
      assert.equal(nextTry(ledger, NOW), NOW + MINUTE);
    }));

  it("takes a time beyond a day for that of a clock that was wrong", () =>
    withLedger((ledger) => {
      want(ledger, { mine: [A] });
      ledger.record("mine", [{ path: A, state: "pushed" }], NOW);
      const tenYears = 3_650 * 24 * 60 * MINUTE;
      ledger.cacheAnswered("mine", { at: NOW + tenYears, nextAt: NOW + tenYears });
      assert.equal(nextTry(ledger, NOW), 0);
      assert.equal(plausibleTime(Infinity, NOW), Infinity);
    }));
});

describe("standing()", () => {
  it("tells a refusal, a lasting fault and one that may heal apart", () =>
    withLedger((ledger) => {
      want(ledger, { mine: [A] });
      ledger.cacheFailed("mine", DOWN, NOW);
      const down = standing(ledger, NOW);
      assert.deepEqual([down.fault, down.mayHeal, down.isLeft], [undefined, true, true]);
      ledger.cacheFailed("mine", REFUSED, NOW);
      const refused = standing(ledger, NOW);
      assert.deepEqual([refused.fault, refused.mayHeal], ["refused", false]);
      ledger.cacheAnswered("mine", { at: NOW, nextAt: NOW });
      ledger.record("mine", [{ path: A, state: "failing", trouble: CORRUPT }], NOW);
      assert.equal(standing(ledger, NOW).fault, "lasting");
      ledger.record("mine", [{ path: A, state: "pushed" }], NOW);
      const done = standing(ledger, NOW);
      assert.deepEqual([done.fault, done.mayHeal, done.isLeft], [undefined, false, false]);
    }));

  it("counts what a rule of the user holds as left, and as no fault", () =>
    withLedger((ledger) => {
      want(ledger, { mine: [A] });
      const trouble = { code: "reference-excluded", message: "needs b" };
      ledger.record("mine", [{ path: A, state: "held", trouble }], NOW);
      ledger.cacheAnswered("mine", { at: NOW, nextAt: NOW + MINUTE });
      const { left, fault, mayHeal } = standing(ledger, NOW);
      assert.deepEqual(
        [left[0]?.codes, left[0]?.nextTry, fault, mayHeal],
        [["reference-excluded"], undefined, undefined, false],
      );
    }));
});

describe("digestOf()", () => {
  const input: SyncInput = { links: [], builds: [], idle: new Set() };
  const config = parseConfig('[caches.mine]\nurl = "cachix://mine"\n', "/handpick.toml", {});

  it("changes with input and rules, and with nothing else", () => {
    const before = digestOf(input, config);
    assert.equal(digestOf({ ...input, idle: new Set() }, config), before);
    const link = { name: "home", target: A, leadsSomewhere: true };
    assert.notEqual(digestOf({ ...input, links: [link] }, config), before);
    assert.notEqual(digestOf({ ...input, builds: [A] }, config), before);
    assert.notEqual(digestOf({ ...input, idle: new Set(["mine"]) }, config), before);
    const other = { ...config, rules: { ...config.rules, exclude: ["*-doc"] } };
    assert.notEqual(digestOf(input, other), before);
    assert.notEqual(digestOf(input, { ...config, caches: [] }), before);
  });
});
