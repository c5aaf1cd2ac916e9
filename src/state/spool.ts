import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import type { StateFolder } from "./state-folder.ts";
import { stateUnusable } from "./state-folder.ts";

/** The mark that a hook leaves when it changed a link. What begins with a dot is not there yet. */
const MARK = /^wanted-/;

/** Whether somebody left a mark. */
export async function hasMarks(folder: StateFolder): Promise<boolean> {
  return (await marks(folder)).length > 0;
}

/**
 * Removes the marks. They say only that a link changed, and what it says now is read after this, so
 * that a mark left meanwhile is there for the next look.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function takeMarks(folder: StateFolder): Promise<void> {
  try {
    for (const name of await marks(folder)) await rm(join(folder.spool, name), { force: true });
  } catch (error) {
    throw stateUnusable(folder.dir, error);
  }
}

async function marks({ spool }: StateFolder): Promise<string[]> {
  return (await readdir(spool)).filter((name) => MARK.test(name));
}
