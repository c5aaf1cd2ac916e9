import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { ensureFile, type StateFolder, stateUnusable } from "./state-folder.ts";

const SQLITE_BUSY = 5;

/**
 * Takes the lock of a state folder until the result is disposed; undefined if another process has
 * it. It is SQLite's lock on a file of its own: the kernel drops it with the process.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if the file cannot be made or opened.
 */
export function tryLock({ dir }: StateFolder): Disposable | undefined {
  const file = join(dir, "lock");
  let connection: DatabaseSync | undefined;
  try {
    ensureFile(file);
    connection = new DatabaseSync(file, { timeout: 0 });
    connection.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    connection?.close();
    if (error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY) {
      return undefined;
    }
    throw stateUnusable(dir, error);
  }
  const locked = connection;
  return { [Symbol.dispose]: () => locked.close() };
}
