import { access, constants, statfs } from "node:fs/promises";
import { dirname } from "node:path";

import { systemCode } from "./system-code.ts";

/** The room on a disk for this user. */
export interface DiskRoom {
  /** In bytes. */
  readonly free: number;
  /** True if not one more file fits. */
  readonly isFull: boolean;
}

/**
 * Looks at the disk that a folder is on, or would be made on.
 *
 * @throws The error of the file system, also where this user may not write.
 */
export async function diskRoom(dir: string): Promise<DiskRoom> {
  let above = dir;
  for (let found = await isWritable(above); !found && above !== dirname(above);) {
    above = dirname(above);
    found = await isWritable(above);
  }
  const { bsize, blocks, bavail, bfree, files, ffree } = await statfs(above);
  // File systems such as /proc have no room at all, so none is full.
  if (blocks === 0) return { free: Infinity, isFull: false };
  const free = (process.geteuid?.() === 0 ? bfree : bavail) * bsize;
  return { free, isFull: free === 0 || (files > 0 && ffree === 0) };
}

/**
 * Returns false if the folder is not there.
 *
 * @throws The error of the file system if this user may not write there.
 */
export async function isWritable(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw error;
  }
}
