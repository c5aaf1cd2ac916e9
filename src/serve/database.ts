import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { HandpickError } from "../error.ts";

/** The file by which a folder is known to be a served cache. */
export const DATABASE_NAME = "cache.sqlite";

const SCHEMA_VERSION = 1;
const SQLITE_BUSY = 5;
const SCHEMA = `
  CREATE TABLE narinfos (
    hash TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    refs TEXT NOT NULL, -- hash parts, separated by spaces
    file TEXT NOT NULL, -- base name in nar/
    text TEXT NOT NULL
  ) STRICT;
  CREATE TABLE uploads (
    nar_id TEXT PRIMARY KEY,
    upload_id TEXT NOT NULL,
    compression TEXT NOT NULL,
    touched INTEGER NOT NULL, -- milliseconds since 1970
    done INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE parts (
    nar_id TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE,
    number INTEGER NOT NULL,
    md5 TEXT NOT NULL, -- hexadecimal
    size INTEGER NOT NULL,
    PRIMARY KEY (nar_id, number)
  ) STRICT;
  CREATE TABLE keys (public_key TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
  CREATE TABLE pins (
    name TEXT PRIMARY KEY,
    created_on TEXT NOT NULL,
    keep TEXT NOT NULL, -- JSON
    revision INTEGER NOT NULL,
    last_revision TEXT NOT NULL -- JSON
  ) STRICT;
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

/**
 * Opens the database of a served cache, which is also its lock: SQLite holds an exclusive lock on
 * the file from here to `close()`, and the kernel drops it when the process dies, however it dies.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if another server has it or it is not such a database.
 */
export function openDatabase(dir: string): DatabaseSync {
  const file = join(dir, DATABASE_NAME);
  try {
    // SQLite gives its other files the mode of this one.
    closeSync(openSync(file, "a", 0o600));
    const db = new DatabaseSync(file, { timeout: 0 });
    try {
      db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;");
      db.exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
      prepareSchema(db, file);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    throw error instanceof HandpickError ? error : unusable(file, error);
  }
}

/** Runs `task` in one transaction, which is on disk when this returns and undone if it throws. */
export function transaction(db: DatabaseSync, task: () => void): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    task();
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function prepareSchema(db: DatabaseSync, file: string): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version === 0) transaction(db, () => db.exec(SCHEMA));
  else if (version !== SCHEMA_VERSION) {
    throw new HandpickError(
      "FILE_UNUSABLE",
      `Cannot use ${JSON.stringify(file)}: expected schema ${SCHEMA_VERSION}, found ${version}`,
      { hint: "Serve the folder with the version of handpick that wrote it." },
    );
  }
}

function unusable(file: string, cause: unknown): HandpickError {
  const isBusy = cause instanceof Error && "errcode" in cause && cause.errcode === SQLITE_BUSY;
  const found = cause instanceof Error ? cause.message : String(cause);
  return new HandpickError(
    "FILE_UNUSABLE",
    `Cannot open ${JSON.stringify(file)}: ${isBusy ? "another server uses it" : found}`,
    {
      cause,
      hint: isBusy ? "Stop the other server, or choose another folder with --dir." : undefined,
    },
  );
}
