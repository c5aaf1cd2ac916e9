import { replaceFile, readLine, type StateFolder } from "./state-folder.ts";

/**
 * Replaces the line that hooks show once a day; undefined removes it.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function writeNotice(folder: StateFolder, line: string | undefined): Promise<void> {
  if ((await readNotice(folder)) !== line) await replaceFile(folder, "notice", line);
}

/** The line, if there is one that can be read. */
export async function readNotice(folder: StateFolder): Promise<string | undefined> {
  const text = await readLine(folder, "notice").catch(() => "");
  return text.trim() || undefined;
}
