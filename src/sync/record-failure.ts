import { toFailure } from "../push/events.ts";
import { recordFailure } from "../state/failure.ts";
import { writeNotice } from "../state/notice.ts";
import { emptySpool } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { DAY_MS } from "./notice-of.ts";

/**
 * Runs `task`, which is to be a whole sync, and writes down why it fails: services run it where nobody
 * reads what it says. The spool is emptied before, so that it is whatever fails.
 *
 * @throws What `task` throws, or `FILE_UNUSABLE` if the spool cannot be emptied.
 */
export async function recordingFailure<T>(
  { folder, signal }: { readonly folder: StateFolder; readonly signal: AbortSignal },
  task: () => Promise<T>,
): Promise<T> {
  try {
    await emptySpool(folder);
    return await task();
  } catch (error) {
    // A folder that cannot be written is seen by whoever asks for the status.
    if (!signal.aborted) await record(folder, error).catch(() => undefined);
    throw error;
  }
}

async function record(folder: StateFolder, error: unknown): Promise<void> {
  const now = Date.now();
  const { since } = await recordFailure(folder, toFailure(error), now);
  if (now - since <= DAY_MS) return;
  const line =
    "handpick: nothing has been pushed for more than a day, sync fails; see handpick status";
  await writeNotice(folder, line);
}
