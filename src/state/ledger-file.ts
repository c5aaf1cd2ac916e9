import { linkSync, lstatSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { assertFact } from "./facts.ts";
import { isDamage } from "./ledger-damage.ts";
import { toCacheEntry, toEntry, toPath } from "./ledger-rows.ts";
import { assertSchema, isEmpty, makeSchema, SCHEMA_VERSION, versionOf } from "./ledger-schema.ts";
import { ensureFile, type StateFolder, stateUnusable } from "./state-folder.ts";

const BUSY_TIMEOUT_MS = 5000;

/**
 * Opens the ledger for writing, and makes it if it is missing. Readers are welcome meanwhile.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export function openLedgerFile({ dir }: StateFolder): DatabaseSync {
  const file = fileIn(dir);
  let db: DatabaseSync | undefined;
  try {
    if (!isThere(file)) takeBack(file);
    // SQLite gives its other files the mode of this one.
    ensureFile(file);
    db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    makeSchema(db);
    assertReadable(db);
    return db;
  } catch (error) {
    db?.close();
    throw isDamage(error) ? ledgerDamaged(dir, error) : stateUnusable(dir, error);
  }
}

/**
 * Looks at the ledger itself, all of it: an error may be that of another database. One of a newer schema
 * counts as damaged, since nobody can tell what is in it.
 */
export function isLedgerDamaged({ dir }: StateFolder): boolean {
  const file = fileIn(dir);
  if (!isThere(file)) return false;
  try {
    using db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
    if (isEmpty(db)) return false;
    if (db.prepare("PRAGMA quick_check(1)").get()?.["quick_check"] !== "ok") return true;
    assertReadable(db);
    for (const row of db.prepare("SELECT * FROM entries").iterate()) toEntry(row);
    for (const row of db.prepare("SELECT * FROM caches").iterate()) toCacheEntry(row);
    for (const row of db.prepare("SELECT * FROM builds").iterate()) toPath(row);
    return false;
  } catch (error) {
    return isDamage(error);
  }
}

/** The few rows that not every sync reads are looked at whenever the ledger is opened. */
function assertReadable(db: DatabaseSync): void {
  assertSchema(db);
  for (const { name, value } of db.prepare("SELECT name, value FROM facts").all()) {
    assertFact(String(name), String(value));
  }
}

/**
 * Keeps a ledger that cannot be used under another name, in place of an older one; the next to open it
 * makes a new one. A newer handpick finds its own again: see {@link takeBack}. For the holder of the lock.
 *
 * @returns A sentence for the user about it.
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export function moveLedgerAside({ dir }: StateFolder): string {
  const file = fileIn(dir);
  const version = versionIn(file);
  const isNewer = version > SCHEMA_VERSION;
  const due = isNewer ? nameOfVersion(file, version) : `${file}.damaged`;
  const kept = nameBesideFolders(due);
  try {
    renameSync(file, kept);
    // They belong to the old file, and would damage the new one.
    for (const suffix of ["-wal", "-shm"]) rmSync(`${file}${suffix}`, { force: true });
  } catch (error) {
    throw stateUnusable(dir, error);
  }
  return isNewer && kept === due
    ? `the ledger is that of a newer handpick (schema ${version}); a new one is made, and that version finds its own as ${kept}`
    : `the ledger ${isNewer ? "is that of a newer handpick" : "was damaged"}; a new one is made, and the old one is kept as ${kept}`;
}

/** Replaces an older file, but nobody's folder, which no file can be renamed to. */
function nameBesideFolders(name: string): string {
  let free = name;
  for (let n = 1; lstatSync(free, { throwIfNoEntry: false })?.isDirectory() === true; n += 1) {
    free = `${name}-${n}`;
  }
  return free;
}

/** The version that a file says it has, with everything in the file itself; 0 if nothing can tell. */
function versionIn(file: string): number {
  try {
    using db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    return versionOf(db);
  } catch {
    return 0;
  }
}

/** Uses the ledger of this version again that an older handpick had moved aside. */
function takeBack(file: string): void {
  const kept = nameOfVersion(file, SCHEMA_VERSION);
  if (!isThere(kept)) return;
  // Unlike a rename it replaces none that another process makes meanwhile.
  linkSync(kept, file);
  rmSync(kept);
}

function nameOfVersion(file: string, version: number): string {
  return `${file}.v${version}`;
}

/** The error for a ledger that a sync is going to replace. */
export function ledgerDamaged(dir: string, cause: unknown): HandpickError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `Cannot use the ledger ${quote(fileIn(dir))}: ${reason}`;
  const hint = "Run handpick sync: it moves the file aside, and asks the caches what they have.";
  return new HandpickError("FILE_UNUSABLE", message, { cause, hint });
}

/**
 * Opens the ledger for reading, undefined if there is none yet. Without the right to make the files
 * of the WAL it is read as it lies there; so is one without them in the folder of another user.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export function openLedgerReadOnly({ dir }: StateFolder): DatabaseSync | undefined {
  const file = [fileIn(dir), nameOfVersion(fileIn(dir), SCHEMA_VERSION)].find(isThere);
  if (file === undefined) return undefined;
  let db: DatabaseSync | undefined;
  try {
    db = openReadable(file);
    if (isEmpty(db)) {
      db.close();
      return undefined;
    }
    assertReadable(db);
    return db;
  } catch (error) {
    db?.close();
    throw ledgerDamaged(dir, error);
  }
}

function openReadable(file: string): DatabaseSync {
  const still = pathToFileURL(file);
  still.searchParams.set("immutable", "1");
  // Nothing is made in the folder of another user. Without a WAL all is in the file itself.
  const isOurs = lstatSync(file).uid === process.geteuid?.();
  if (!isOurs && !isThere(`${file}-wal`)) return opened(still);
  try {
    return opened(file);
  } catch (error) {
    if (isDamage(error)) throw error;
    return opened(still);
  }
}

function opened(file: string | URL): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    versionOf(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function fileIn(dir: string): string {
  return join(dir, "ledger.sqlite");
}

/** A link or a pipe is no ledger. */
function isThere(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false })?.isFile() === true;
}
