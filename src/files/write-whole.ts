import { randomUUID } from "node:crypto";
import { link, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

export interface WriteWholeOptions {
  /** False to fail with `EEXIST` where the file exists. @default {true} */
  readonly replaces?: boolean;
  /** The folder for the file until it is whole, on the same file system. @default {that of the file} */
  readonly tmpDir?: string;
  /** True to have it on disk, and its name too, once this settles. @default {false} */
  readonly isDurable?: boolean;
}

/**
 * Writes a text to a file that only its owner may read. Readers find it whole or not at all, whenever this
 * process is killed; what it leaves then begins with a dot.
 *
 * @throws The error of the file system.
 */
export async function writeWhole(
  file: string,
  text: string,
  { replaces = true, tmpDir = dirname(file), isDurable = false }: WriteWholeOptions = {},
): Promise<void> {
  const temporary = join(tmpDir, `.${basename(file)}-${randomUUID()}`);
  try {
    await using handle = await open(temporary, "wx", 0o600);
    await handle.writeFile(text);
    if (isDurable) await handle.sync();
    // A rename would replace a file that exists.
    await (replaces ? rename(temporary, file) : link(temporary, file));
    if (isDurable) await syncDirectory(dirname(file));
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

/** Makes new names in a folder survive a power cut. */
export async function syncDirectory(dir: string): Promise<void> {
  await using handle = await open(dir, "r");
  await handle.sync();
}
