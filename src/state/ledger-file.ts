import { renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { ensureFile, type StateFolder, stateUnusable } from "./state-folder.ts";

const SCHEMA_VERSION = 1;
const BUSY_TIMEOUT_MS = 5000;
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

/**
 * Opens the ledger for writing, and makes it if it is missing. Readers are welcome meanwhile.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export function openLedgerFile({ dir }: StateFolder): DatabaseSync {
  const file = join(dir, "ledger.sqlite");
  let db: DatabaseSync | undefined;
  try {
    // SQLite gives its other files the mode of this one.
    ensureFile(file);
    db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    if (versionOf(db) === 0) db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
    assertVersion(db, file);
    return db;
  } catch (error) {
    db?.close();
    if (isDamage(error)) throw damaged(file, error);
    throw stateUnusable(dir, error);
  }
}

/** SQLite's codes for a file that is damaged or none of its own; what is above a byte tells more. */
const DAMAGED: ReadonlySet<number> = new Set([11, 26]);

function isDamage(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && DAMAGED.has(Number(error.errcode) & 0xff);
}

/** Looks at the ledger itself: an error may be that of another database. */
export function isLedgerDamaged({ dir }: StateFolder): boolean {
  const file = join(dir, "ledger.sqlite");
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return false;
  try {
    using db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
    return db.prepare("PRAGMA quick_check(1)").get()?.["quick_check"] !== "ok";
  } catch (error) {
    return isDamage(error);
  }
}

/**
 * Keeps a damaged ledger under another name, in place of an older one; the next to open it makes it
 * anew. For the holder of the lock.
 *
 * @returns That name.
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export function moveLedgerAside({ dir }: StateFolder): string {
  const file = join(dir, "ledger.sqlite");
  const kept = `${file}.damaged`;
  try {
    renameSync(file, kept);
    // They belong to the old file, and would damage the new one.
    for (const suffix of ["-wal", "-shm"]) rmSync(`${file}${suffix}`, { force: true });
    return kept;
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}

function damaged(file: string, cause: unknown): HandpickError {
  const message = `Cannot use the ledger ${quote(file)}: ${String(cause)}`;
  const hint = "Run handpick sync: it moves the file aside, and asks the caches what they have.";
  return new HandpickError("FILE_UNUSABLE", message, { cause, hint });
}

/**
 * Opens the ledger for reading, undefined if there is none yet. Without the right to make the files
 * of the WAL it is read as it lies there.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export function openLedgerReadOnly({ dir }: StateFolder): DatabaseSync | undefined {
  const file = join(dir, "ledger.sqlite");
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return undefined;
  const still = pathToFileURL(file);
  still.searchParams.set("immutable", "1");
  let db: DatabaseSync;
  try {
    db = openReadable(file);
  } catch {
    try {
      db = openReadable(still);
    } catch (error) {
      throw damaged(file, error);
    }
  }
  if (versionOf(db) > 0) {
    assertVersion(db, file);
    return db;
  }
  db.close();
  return undefined;
}

function openReadable(file: string | URL): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    versionOf(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function versionOf(db: DatabaseSync): number {
  return Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
}

function assertVersion(db: DatabaseSync, file: string): void {
  const version = versionOf(db);
  if (version === SCHEMA_VERSION) return;
  const message = `Cannot use the ledger ${quote(file)}: expected schema ${SCHEMA_VERSION}, found ${version}`;
  const hint = "Use the version of handpick that wrote it, or remove the file: it is made anew.";
  throw new HandpickError("FILE_UNUSABLE", message, { hint });
}
