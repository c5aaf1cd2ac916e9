import type { DatabaseSync } from "node:sqlite";

import { LedgerDamage } from "./ledger-damage.ts";

/** The schema of this handpick. */
export const SCHEMA_VERSION = 1;
/** Times are milliseconds since 1970. */
const SCHEMA = `
  CREATE TABLE entries (
    cache TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    waiting_since INTEGER NOT NULL,
    failing_since INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER,
    code TEXT,
    message TEXT,
    hint TEXT,
    pushed_at INTEGER,
    seen_at INTEGER,
    PRIMARY KEY (cache, path)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE caches (
    name TEXT PRIMARY KEY,
    failing_since INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL, -- when it is asked again
    code TEXT,
    message TEXT,
    hint TEXT,
    checked_at INTEGER
  ) STRICT;
  CREATE TABLE builds (path TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** The columns of its tables, in their order. */
const COLUMNS: Readonly<Record<string, string>> = {
  entries:
    "cache path state waiting_since failing_since tries next_try code message hint pushed_at seen_at",
  caches: "name failing_since tries next_at code message hint checked_at",
  builds: "path at",
  facts: "name value",
};

/** Makes the tables of a ledger that has none, whoever else does so at the same time. */
export function makeSchema(db: DatabaseSync): void {
  if (!isEmpty(db)) return;
  db.exec("BEGIN IMMEDIATE");
  if (isEmpty(db)) db.exec(SCHEMA);
  db.exec("COMMIT");
}

/** Tells if nobody made tables yet. */
export function isEmpty(db: DatabaseSync): boolean {
  const count = db.prepare("SELECT count(*) AS count FROM sqlite_schema").get()?.["count"];
  return versionOf(db) === 0 && count === 0;
}

/** The schema that the file says it has. */
export function versionOf(db: DatabaseSync): number {
  return Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
}

/** @throws {LedgerDamage} If it is another schema, or not what it says. */
export function assertSchema(db: DatabaseSync): void {
  const version = versionOf(db);
  if (version !== SCHEMA_VERSION) {
    throw new LedgerDamage(`expected schema ${SCHEMA_VERSION}, found ${version}`);
  }
  const tables = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?";
  for (const [table, expected] of Object.entries(COLUMNS)) {
    const isTable = db.prepare(tables).get(table) !== undefined;
    const rows = db.prepare("SELECT name FROM pragma_table_info(?)").all(table);
    const found = rows.map(({ name }) => String(name)).join(" ");
    if (!isTable || found !== expected) {
      throw new LedgerDamage(`expected a table ${table} of ${expected}, found ${found || "none"}`);
    }
  }
}
