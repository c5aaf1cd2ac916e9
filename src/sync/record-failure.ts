import { toFailure } from "../error.ts";
import { recordFailure } from "../state/failure.ts";
import { writeNotice } from "../state/notice.ts";
import type { PassedOver } from "../state/passed-over.ts";
import { emptySpool } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { assertOwnFolder, assertOwnFolders } from "../state/state-trust.ts";
import { DAY_MS } from "./notice-of.ts";

export interface RecordedSync {
  readonly folder: StateFolder;
  readonly passedOver: PassedOver;
  readonly signal: AbortSignal;
  /** The time in milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Runs `task`, which is to be a whole sync, and writes down why it fails: services run it where nobody
 * reads what it says. The spool is emptied before, so that it is whatever fails. In the folder of
 * another user nothing is written at all.
 *
 * @throws What `task` throws, or `FILE_UNUSABLE` if the spool cannot be emptied or may be another
 *   user's.
 */
export async function recordingFailure<T>(
  { folder, passedOver, signal, now }: RecordedSync,
  task: () => Promise<T>,
): Promise<T> {
  const { dir } = folder;
  await assertOwnFolder(dir, "act");
  try {
    await assertOwnFolders(dir);
    await emptySpool(folder, passedOver);
    return await task();
  } catch (error) {
    // A folder that cannot be written is seen by whoever asks for the status.
    if (!signal.aborted) await record(folder, error, now()).catch(() => undefined);
    throw error;
  }
}

async function record(folder: StateFolder, error: unknown, now: number): Promise<void> {
  const { since } = await recordFailure(folder, toFailure(error), now);
  if (now - since <= DAY_MS) return;
  const line =
    "handpick: nothing has been pushed for more than a day, sync fails; see handpick status";
  await writeNotice(folder, line);
}
