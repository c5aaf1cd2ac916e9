import { access, constants, statfs } from "node:fs/promises";
import { dirname } from "node:path";

import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";
import { formatSize } from "../plan/format-size.ts";
import { readFailure, type SyncFailure } from "../state/failure.ts";
import { type Failure, toFailure } from "../error.ts";
import { type StateFolder, stateUnusable } from "../state/state-folder.ts";

/** With less room the ledger may take no more. */
const LEAST_FREE_BYTES = 1 << 20;

/**
 * Why syncs fail as a whole, if they do: what the last one wrote down, and where it could not write,
 * what keeps it from that. Changes nothing.
 */
export async function findTrouble(folder: StateFolder): Promise<SyncFailure | undefined> {
  try {
    await assertUsable(folder);
  } catch (error) {
    const known = await readFailure(folder);
    return { ...toFailure(stateUnusable(folder.dir, error)), ...sinceOf(known) };
  }
  return readFailure(folder);
}

/** Why syncs may fail soon although the last one did not. Changes nothing. */
export async function findRisk({ dir }: StateFolder): Promise<Failure | undefined> {
  const room = await roomFor(dir).catch(() => undefined);
  if (room === undefined || room.isFull || room.free >= LEAST_FREE_BYTES) return undefined;
  const found = `found ${formatSize(room.free)}`;
  return {
    code: "FILE_UNUSABLE",
    message: `Cannot be sure of room for state in ${quote(dir)}: expected ${formatSize(LEAST_FREE_BYTES)} free, ${found}`,
    hint: "Make room on that disk.",
  };
}

function sinceOf(known: SyncFailure | undefined): { readonly since?: number } {
  return known?.since === undefined ? {} : { since: known.since };
}

async function assertUsable({ dir, wanted, spool, queue }: StateFolder): Promise<void> {
  for (const folder of [dir, wanted, spool, queue]) await isWritable(folder);
  if ((await roomFor(dir)).isFull) {
    throw Object.assign(new Error("the disk is full"), { code: "ENOSPC" });
  }
}

/** The room on the disk that a folder is on, or would be made on. */
async function roomFor(dir: string): Promise<{ readonly free: number; readonly isFull: boolean }> {
  let above = dir;
  for (let found = await isWritable(above); !found && above !== dirname(above);) {
    above = dirname(above);
    found = await isWritable(above);
  }
  const { bsize, blocks, bavail, bfree, files, ffree } = await statfs(above);
  // File systems such as /proc have no room at all, so none is full.
  if (blocks === 0) return { free: Infinity, isFull: false };
  const free = (process.geteuid?.() === 0 ? bfree : bavail) * bsize;
  return { free, isFull: free === 0 || (files > 0 && ffree === 0) };
}

/** False if it is not there. */
async function isWritable(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
}
