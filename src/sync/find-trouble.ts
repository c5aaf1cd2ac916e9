import { access, constants, statfs } from "node:fs/promises";
import { dirname } from "node:path";

import { readFailure, type SyncFailure } from "../state/failure.ts";
import { type StateFolder, stateUnusable } from "../state/state-folder.ts";
import { toFailure } from "../push/events.ts";

/** Below that the ledger takes no more. */
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

function sinceOf(known: SyncFailure | undefined): { readonly since?: number } {
  return known?.since === undefined ? {} : { since: known.since };
}

async function assertUsable({ dir, wanted, spool, queue }: StateFolder): Promise<void> {
  const isThere = await isWritable(dir);
  for (const folder of [wanted, spool, queue]) await isWritable(folder);
  let above = dir;
  for (let found = isThere; !found && above !== dirname(above); found = await isWritable(above)) {
    above = dirname(above);
  }
  const { bsize, bavail, bfree, files, ffree } = await statfs(above);
  const free = (process.geteuid?.() === 0 ? bfree : bavail) * bsize;
  if (free < LEAST_FREE_BYTES || (files > 0 && ffree === 0)) {
    throw Object.assign(new Error("the disk is full"), { code: "ENOSPC" });
  }
}

/** False if it is not there. */
async function isWritable(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
