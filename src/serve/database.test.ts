import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { temporaryFolder } from "../../test/serve-client.ts";
import { openDatabase, transaction } from "./database.ts";

describe("transaction()", () => {
  it("undoes everything when its task throws", async () => {
    await using folder = await temporaryFolder();
    const db = openDatabase(folder.path);
    const insert = (name: string): unknown =>
      db.prepare("INSERT INTO keys (public_key, name) VALUES (?, ?)").run(name, name);
    transaction(db, () => insert("kept"));
    const fails = (): void =>
      transaction(db, () => {
        insert("undone");
        insert("kept");
      });
    assert.throws(fails, /UNIQUE constraint/);
    const rows = db.prepare("SELECT name FROM keys").all();
    assert.deepEqual(
      rows.map((row) => row["name"]),
      ["kept"],
    );
    db.close();
  });
});
