import { truncateSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { ensureFile, type StateFolder, stateUnusable } from "./state-folder.ts";

const SQLITE_BUSY = 5;
const SQLITE_NOTADB = 26;

/**
 * Takes the lock of a state folder until the result is disposed; undefined if another process has
 * it. It is SQLite's lock on a file of its own: the kernel drops it with the process.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if the file cannot be made or opened.
 */
export function tryLock({ dir }: StateFolder): Disposable | undefined {
  const file = join(dir, "lock");
  try {
    ensureFile(file);
    try {
      return lockFile(file);
    } catch (error) {
      if (!hasErrcode(error, SQLITE_NOTADB)) throw error;
      // Nothing is kept in it. The same file is emptied, for another process may be about to lock it.
      truncateSync(file);
      return lockFile(file);
    }
  } catch (error) {
    if (hasErrcode(error, SQLITE_BUSY)) return undefined;
    throw stateUnusable(dir, error);
  }
}

function lockFile(file: string): Disposable {
  const connection = new DatabaseSync(file, { timeout: 0 });
  try {
    connection.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    connection.close();
    throw error;
  }
  return { [Symbol.dispose]: () => connection.close() };
}

function hasErrcode(error: unknown, errcode: number): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === errcode;
}
