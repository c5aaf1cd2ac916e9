import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";

import { tempDir } from "../../test/temp.ts";
import { writeOldLedger } from "../../test/version-0.1.0.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { parseReadSelections, parseStrings, parseTime, parseTroubles } from "./facts.ts";
import { isLedgerDamaged, moveLedgerAside } from "./ledger-file.ts";
import { Ledger } from "./ledger.ts";
import { makeStateFolder, stateFolder, type StateFolder } from "./state-folder.ts";

const A = parseStorePath("/nix/store/0c9v5ms8ag5fl2ll07lmdlg1ayqpyz6i-a");

async function withFolder(
  task: (folder: StateFolder, file: string) => void | Promise<void>,
): Promise<void> {
  await using temp = await tempDir();
  const folder = stateFolder(temp.dir);
  await makeStateFolder(folder);
  await task(folder, join(temp.dir, "ledger.sqlite"));
}

function change(file: string, sql: string): void {
  using db = new DatabaseSync(file);
  db.exec(sql);
}

function fill(folder: StateFolder): void {
  using ledger = Ledger.open(folder);
  ledger.want(new Map([["mine", new Set([A])]]), 1);
  ledger.addBuilds([A], 1);
  ledger.cacheAnswered("mine", { at: 1, nextAt: 2 });
}

/** Everything in it, as a sync and a status read it. */
function readAll(folder: StateFolder): void {
  using ledger = Ledger.open(folder);
  ledger.entries();
  ledger.caches();
  ledger.builds();
}

describe("a ledger of 0.1.0", () => {
  it("is read, and worked on", () =>
    withFolder(async (folder) => {
      await writeOldLedger(folder.dir);
      assert.equal(isLedgerDamaged(folder), false);
      using ledger = Ledger.open(folder);
      const states = ledger
        .entries()
        .map(({ cache, path, state }) => [cache, path.slice(44), state]);
      assert.deepEqual(states, [
        ["down", "data-1", "waiting"],
        ["mine", "lib-1", "pushed"],
        ["mine", "data-1", "excluded"],
        ["mine", "app-2", "failing"],
        ["mine", "tool-1", "pushed"],
        ["mine", "app-1", "pushed"],
      ]);
      const failing = ledger.entries().find(({ state }) => state === "failing");
      assert.deepEqual([failing?.tries, failing?.trouble?.code], [3, "UPLOAD_REJECTED"]);
      const caches = ledger.caches().map(({ name, trouble }) => [name, trouble?.code]);
      assert.deepEqual(caches, [
        ["down", "NETWORK"],
        ["mine", undefined],
      ]);
      assert.deepEqual(
        ledger.builds().map((path) => path.slice(44)),
        ["app-2"],
      );
      assert.equal(parseTime(ledger.fact("syncEnded")), 1796074306569);
      assert.equal(parseReadSelections(ledger.fact("read")).size, 3);
      assert.equal(parseTroubles(ledger.fact("unusable")).get("broken")?.code, "MANIFEST_INVALID");
      assert.equal(parseStrings(ledger.fact("ended")).length, 1);
      assert.equal(ledger.fact("watchMark"), "1234 /nix/store");
      const at = 1796074999000;
      const [path] = ledger.builds();
      assert.ok(path !== undefined);
      ledger.record("mine", [{ path, state: "pushed", byUs: true }], at);
      ledger.want(new Map([["mine", new Set([path])]]), at);
      assert.deepEqual(
        ledger.entries().map(({ state, pushedAt }) => [state, pushedAt]),
        [["pushed", at]],
      );
    }));
});

describe("a ledger that holds what nobody recorded", () => {
  const damages: Readonly<Record<string, string>> = {
    "no tables": "DROP TABLE entries; DROP TABLE caches; DROP TABLE builds; DROP TABLE facts",
    "a table less": "DROP TABLE builds",
    "a view in place of a table": "DROP TABLE builds; CREATE VIEW builds AS SELECT '' path, 1 at",
    "other columns": "ALTER TABLE entries DROP COLUMN hint",
    "an older schema with tables": "PRAGMA user_version = 0",
    "a path that is none": "UPDATE entries SET path = '/etc/passwd'",
    "a build that is no path": "UPDATE builds SET path = '/etc/passwd'",
    "a path that climbs": `UPDATE builds SET path = '/nix/store/${"0".repeat(32)}-a/../../../etc'`,
    "a state that is none": "UPDATE entries SET state = 'great'",
    "a time before all time": "UPDATE entries SET waiting_since = -5",
    "a number beyond all numbers": "UPDATE caches SET next_at = 9223372036854775807",
    "a cache without a name": "UPDATE caches SET name = ''",
    "a fact that is no JSON": "INSERT INTO facts VALUES ('gone', '{')",
    "a fact of another kind": "INSERT INTO facts VALUES ('gone', '{}')",
    "a list in place of an object": "INSERT INTO facts VALUES ('unusable', '[1]')",
    "a number in place of a text": `INSERT INTO facts VALUES ('read', '{"a":{"target":1}}')`,
    "a time that is none": "INSERT INTO facts VALUES ('syncEnded', 'soon')",
  };
  for (const [name, sql] of Object.entries(damages)) {
    it(`is damaged: ${name}`, () =>
      withFolder((folder, file) => {
        fill(folder);
        assert.equal(isLedgerDamaged(folder), false);
        change(file, sql);
        assert.throws(() => readAll(folder));
        assert.equal(isLedgerDamaged(folder), true);
        assert.match(moveLedgerAside(folder), /was damaged; a new one is made.*\.damaged$/);
        readAll(folder);
      }));
  }

  it("is moved aside beside folders that have its name", () =>
    withFolder(async (folder, file) => {
      for (const [kept, sql] of [
        ["damaged", "DROP TABLE builds"],
        ["v99", "PRAGMA user_version = 99"],
      ] as const) {
        await mkdir(join(`${file}.${kept}`, "kept"), { recursive: true });
        await mkdir(`${file}.${kept}-1`);
        fill(folder);
        change(file, sql);
        assert.match(moveLedgerAside(folder), new RegExp(`the old one is kept as .*${kept}-2$`));
        assert.equal((await stat(`${file}.${kept}-2`)).isFile(), true);
        readAll(folder);
        await rm(file);
      }
    }));

  it("is damaged where its pages are overwritten, or it is another file", () =>
    withFolder(async (folder, file) => {
      fill(folder);
      const bytes = await readFile(file);
      for (const start of [4096, 100, 0]) {
        await writeFile(file, Buffer.from(bytes).fill(0x5a, start));
        assert.throws(() => readAll(folder), `from ${start}`);
        assert.ok(isLedgerDamaged(folder), `from ${start}`);
        assert.match(moveLedgerAside(folder), /a new one is made/);
        fill(folder);
      }
    }));

  it("is not taken for one where it is empty, or was not made yet", () =>
    withFolder(async (folder, file) => {
      assert.equal(isLedgerDamaged(folder), false);
      await writeFile(file, "");
      assert.equal(isLedgerDamaged(folder), false);
      assert.equal(Ledger.openReadOnly(folder), undefined);
      readAll(folder);
    }));
});

describe("a ledger of another version", () => {
  it("is kept where that version finds it, as this one finds its own", () =>
    withFolder((folder, file) => {
      fill(folder);
      // As a newer handpick would that found one of this version and did not change it.
      change(file, `VACUUM INTO '${file}.v1'`);
      change(file, "PRAGMA user_version = 3; CREATE TABLE more (a)");
      assert.throws(() => Ledger.open(folder), {
        code: "FILE_UNUSABLE",
        message: /expected schema 1, found 3/,
      });
      assert.throws(() => Ledger.openReadOnly(folder), { hint: /Run handpick sync/ });
      assert.ok(isLedgerDamaged(folder));
      assert.match(moveLedgerAside(folder), /that of a newer handpick \(schema 3\).*\.v3$/);
      using newer = new DatabaseSync(`${file}.v3`);
      assert.equal(newer.prepare("PRAGMA user_version").get()?.["user_version"], 3);
      {
        using readable = Ledger.openReadOnly(folder);
        assert.deepEqual(readable?.builds(), [A], "status reads it where it lies");
      }
      using ledger = Ledger.open(folder);
      assert.deepEqual(ledger.builds(), [A]);
      assert.equal(existsSync(`${file}.v1`), false);
    }));
});

describe("facts", () => {
  it("are nothing where nothing was recorded", () => {
    assert.deepEqual([parseStrings(), parseTime(), parseTime("")], [[], undefined, undefined]);
    assert.deepEqual([parseTroubles().size, parseReadSelections().size], [0, 0]);
  });

  it("keep names that objects have anyway", () => {
    const read = parseReadSelections('{"__proto__":{"target":"a","caches":["b"]}}');
    assert.deepEqual(read.get("__proto__"), { target: "a", caches: ["b"] });
    assert.equal(read.get("constructor"), undefined);
  });
});
