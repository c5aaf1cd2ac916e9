import fs from "node:fs";
import { statfs } from "node:fs/promises";
import { promisify } from "node:util";

/** The types of tmpfs and ramfs, by statfs(2). */
const MEMORY_TYPES: readonly number[] = [0x01021994, 0x858458f6];

/**
 * Calls that write files by the thousand, on plain descriptors: a FileHandle costs as much as the call.
 * The caller of `open` has to call `close`.
 */
export interface FileCalls {
  open(path: string, flags: number, mode?: number): Promise<number> | number;
  /** Writes all of `bytes` from a place on: the system may take less at a time. */
  writeAll(fd: number, bytes: Uint8Array, offset: number): Promise<void> | void;
  /** Waits until a file, or the names in a folder, are on disk. */
  sync(fd: number): Promise<void> | void;
  close(fd: number): Promise<void> | void;
  /** Names a file, in place of one that has the name. */
  rename(from: string, to: string): Promise<void> | void;
}

const write = promisify(fs.write);

/** Calls in threads, for any disk: one that hangs stops nothing else. */
export const threadCalls: FileCalls = {
  open: promisify(fs.open),
  async writeAll(fd, bytes, offset) {
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.length - done;
      done += (await write(fd, bytes, done, rest, offset + done)).bytesWritten;
    }
  },
  sync: promisify(fs.fsync),
  close: promisify(fs.close),
  rename: promisify(fs.rename),
};

/** Calls in this thread, for files in memory: none waits, and waking another thread takes longer than a call. */
const directCalls: FileCalls = {
  open: fs.openSync,
  writeAll(fd, bytes, offset) {
    for (let done = 0; done < bytes.length;) {
      done += fs.writeSync(fd, bytes, done, bytes.length - done, offset + done);
    }
  },
  sync: fs.fsyncSync,
  close: fs.closeSync,
  rename: fs.renameSync,
};

/**
 * Returns the calls for files in these folders.
 *
 * @throws The error of the file system.
 */
export async function callsIn(folders: readonly string[]): Promise<FileCalls> {
  const found = await Promise.all(folders.map(isInMemory));
  return found.every(Boolean) ? directCalls : threadCalls;
}

/** Returns true if what is written to a folder stays in memory. */
export async function isInMemory(folder: string): Promise<boolean> {
  const { type } = await statfs(folder);
  return MEMORY_TYPES.includes(type);
}
