import { lstat } from "node:fs/promises";
import { join } from "node:path";

import { readLine, replaceFile, type StateFolder } from "./state-folder.ts";

const NAME = "started";

/**
 * Records that a hook of a shell started a sync, if one did: it leaves a mark in the spool before. Where no
 * service manager does, nothing else tells who starts them.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function recordStarted(folder: StateFolder, nowMs: number): Promise<void> {
  const isByHook = await lstat(join(folder.spool, "starting")).then(
    () => true,
    () => false,
  );
  if (isByHook) await replaceFile(folder, NAME, String(Math.floor(nowMs / 1000)));
}

/** When a hook started a sync last, in milliseconds since 1970; undefined if none has. */
export async function readStarted(folder: StateFolder): Promise<number | undefined> {
  const line = await readLine(folder, NAME).catch(() => "");
  return /^\d{1,10}\s*$/.test(line) ? Number(line) * 1000 : undefined;
}
