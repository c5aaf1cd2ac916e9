import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Makes a file of mode 0600 that has no name any more: nobody else sees its bytes, and no crash leaves them
 * behind.
 *
 * @throws The error of the file system.
 */
export async function openUnnamed(dir: string): Promise<FileHandle> {
  const name = join(dir, `.handpick-${randomUUID()}`);
  const file = await open(name, "wx+", 0o600);
  try {
    await unlink(name);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Returns the folder for files that may become large: `/tmp` is in memory on many machines. */
export function temporaryFolder(): string {
  const isChosen = process.env["TMPDIR"] !== undefined;
  return !isChosen && existsSync("/var/tmp") ? "/var/tmp" : tmpdir();
}
