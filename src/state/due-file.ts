import { makeStateFolder, replaceFile, type StateFolder } from "./state-folder.ts";

/** How long a sync that was begun has time to end before hooks start another. */
const BEGUN_MS = 15 * 60_000;

/**
 * Tells hooks when to start a sync although nothing changed, in milliseconds since 1970; undefined
 * for never.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function writeDue(folder: StateFolder, timeMs: number | undefined): Promise<void> {
  // The shell counts seconds.
  const line = timeMs === undefined ? undefined : String(Math.ceil(timeMs / 1000));
  await replaceFile(folder, "due", line);
}

/**
 * Has hooks start another sync if the one that begins now does not come to its end: whatever ends
 * it, nobody else may look where there is no service manager.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function scheduleRetry(folder: StateFolder, now: number): Promise<void> {
  await makeStateFolder(folder);
  await writeDue(folder, now + BEGUN_MS);
}
