import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";

import { temporaryFolder } from "../../test/serve-client.ts";
import { Commits } from "./commits.ts";
import { openDatabase } from "./database.ts";

interface Rig extends AsyncDisposable {
  readonly commits: Commits;
  readonly insert: (name: string) => void;
  readonly names: () => unknown[];
  /** How many transactions were begun. */
  readonly begun: () => number;
}

async function openRig(): Promise<Rig> {
  const folder = await temporaryFolder();
  const db: DatabaseSync = openDatabase(folder.path);
  const exec = db.exec.bind(db);
  let begun = 0;
  db.exec = (sql: string): void => {
    if (sql.startsWith("BEGIN")) begun += 1;
    exec(sql);
  };
  return {
    commits: new Commits(db),
    insert: (name) => {
      db.prepare("INSERT INTO keys (public_key, name) VALUES (?, ?)").run(name, name);
    },
    names: () =>
      db
        .prepare("SELECT name FROM keys ORDER BY rowid")
        .all()
        .map((row) => row["name"]),
    begun: () => begun,
    [Symbol.asyncDispose]: async () => {
      db.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe("Commits", () => {
  it("takes one transaction for all that is to be written at a moment", async () => {
    await using rig = await openRig();
    const names = ["a", "b", "c"];
    await Promise.all(names.map((name) => rig.commits.run(() => rig.insert(name))));
    assert.deepEqual(rig.names(), names);
    assert.equal(rig.begun(), 1);
    await rig.commits.run(() => rig.insert("d"));
    assert.equal(rig.begun(), 2);
  });

  it("undoes all of what fails, and nothing else", async () => {
    await using rig = await openRig();
    const outcomes = await Promise.allSettled([
      rig.commits.run(() => rig.insert("a")),
      rig.commits.run(() => {
        rig.insert("half");
        rig.insert("a");
      }),
      rig.commits.run(() => rig.insert("b")),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(rig.names(), ["a", "b"]);
  });

  it("settles nothing before it is on disk", async () => {
    await using rig = await openRig();
    const running = rig.commits.run(() => rig.insert("a"));
    const isSettled = await Promise.race([running.then(() => true), Promise.resolve(false)]);
    assert.equal(isSettled, false);
    assert.deepEqual(rig.names(), []);
    await running;
    assert.deepEqual(rig.names(), ["a"]);
  });
});
