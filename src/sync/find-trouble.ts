import { diskRoom, isWritable } from "../files/disk-room.ts";
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
  const room = await diskRoom(dir).catch(() => undefined);
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
  if ((await diskRoom(dir)).isFull) {
    throw Object.assign(new Error("the disk is full"), { code: "ENOSPC" });
  }
}
