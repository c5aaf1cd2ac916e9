import { randomUUID } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type StateFolder, stateUnusable } from "./state-folder.ts";

/**
 * Replaces the line that hooks show once a day; undefined removes it.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function writeNotice(folder: StateFolder, line: string | undefined): Promise<void> {
  const file = join(folder.dir, "notice");
  try {
    if (line === undefined) return await rm(file, { force: true });
    if ((await readNotice(folder)) === line) return;
    const temporary = join(folder.dir, `.notice-${randomUUID()}`);
    await writeFile(temporary, `${line}\n`, { mode: 0o600 });
    await rename(temporary, file);
  } catch (error) {
    throw stateUnusable(folder.dir, error);
  }
}

/** The line, if there is one that can be read. */
export async function readNotice({ dir }: StateFolder): Promise<string | undefined> {
  const text = await readFile(join(dir, "notice"), "utf8").catch(() => "");
  return text.trim() || undefined;
}
