import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { HandpickError, writeFailure } from "../error.ts";
import { makeFolder } from "../files/make-folder.ts";
import { assertFit } from "../files/open-file.ts";
import { readBounded } from "../files/read-bounded.ts";
import { writeWhole } from "../files/write-whole.ts";
import { quote } from "../nix/format-error.ts";
import { assertOwnFolder, assertOwnFolders, assertOwnParts, ownersOf } from "./state-trust.ts";

/** A line that is larger was not written by us. */
const MOST_LINE_BYTES = 64 << 10;

/** Where the parts of a state folder are. */
export interface StateFolder {
  readonly dir: string;
  /** Links to manifests: what is wanted. */
  readonly wanted: string;
  /** One small file for each thing that happened: what others leave, and what starts a sync. */
  readonly spool: string;
  /** The part of the spool that is not dealt with yet. */
  readonly queue: string;
  /** Links that Nix's garbage collector is told of. */
  readonly roots: string;
}

/** Names the parts of the state folder `dir`; makes nothing. */
export function stateFolder(dir: string): StateFolder {
  return {
    dir,
    wanted: join(dir, "wanted"),
    spool: join(dir, "spool"),
    queue: join(dir, "queue"),
    roots: join(dir, "roots"),
  };
}

/**
 * Makes what is missing of a state folder, for its owner alone.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`, also if the folder or a part of it may be another user's.
 */
export async function makeStateFolder(folders: StateFolder): Promise<void> {
  const { dir, wanted, spool, queue, roots } = folders;
  try {
    await makeFolder(dir);
    await assertOwnFolder(dir, "act");
    await assertOwnParts(dir);
    for (const folder of [wanted, spool, queue, roots]) await makeFolder(folder);
    // In a sticky folder somebody else may have put a link first; what is ours there by now stays ours.
    await assertOwnFolders(dir);
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}

/**
 * Replaces a file of one line, so that readers find it whole; undefined removes it.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function replaceFile(
  { dir }: StateFolder,
  name: string,
  line: string | undefined,
): Promise<void> {
  const file = join(dir, name);
  try {
    if (line === undefined) await rm(file, { force: true });
    else await writeWhole(file, `${line}\n`);
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}

/**
 * Reads such a file.
 *
 * @throws {UnfitFileError} If it is not a file of ours.
 * @throws The error of the file system.
 */
export async function readLine({ dir }: StateFolder, name: string): Promise<string> {
  const owners = await ownersOf(dir);
  const limits = { noFollow: true, regularOnly: true, owners };
  return readBounded(join(dir, name), MOST_LINE_BYTES, limits);
}

/**
 * Makes an empty file that only its owner may read, unless it is there, for SQLite to open.
 *
 * @throws The error of the file system, also for a pipe, which SQLite would wait for.
 */
export function ensureFile(file: string): void {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOFOLLOW } = constants;
  const descriptor = openSync(file, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOFOLLOW, 0o600);
  try {
    assertFit(fstatSync(descriptor), { regularOnly: true });
  } finally {
    closeSync(descriptor);
  }
}

/** The error for a state folder that cannot be written. */
export function stateUnusable(dir: string, cause: unknown): HandpickError {
  if (cause instanceof HandpickError) return cause;
  const message = `Cannot keep state in ${quote(dir)}: ${writeFailure(cause)}`;
  const hint = "Make the folder writable, or name another one in HANDPICK_STATE_DIR.";
  return new HandpickError("FILE_UNUSABLE", message, { cause, hint });
}
