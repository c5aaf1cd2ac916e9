import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  type Stats,
  statSync,
} from "node:fs";
import { type FileHandle, lstat, open, stat } from "node:fs/promises";

/** Limits what {@link openFile} takes. */
export interface OpenFileOptions {
  /** Refuse a link in the last place of the name. @default {false} */
  readonly noFollow?: boolean;
  /** Refuse pipes and devices, which only a user may name. @default {false} */
  readonly regularOnly?: boolean;
  /** Numeric users to whom the file may belong. @default {anybody} */
  readonly owners?: ReadonlySet<number> | undefined;
}

/** A file that is open for reading, and what it is. */
export interface OpenFile extends AsyncDisposable {
  readonly handle: FileHandle;
  readonly status: Stats;
}

/** Says that a file is of a kind, a size or an owner that is not taken. */
export class UnfitFileError extends Error {
  override readonly name = "UnfitFileError";
}

/**
 * Opens a file that others may have made. It never waits: opening a pipe without a writer would block
 * a thread for ever, and the end of the process too. What is refused is not even opened, since that
 * alone may set off a device.
 *
 * @throws {UnfitFileError} If it is of a kind or an owner that `options` refuse, or a folder.
 * @throws The error of the file system if it cannot be opened.
 */
export async function openFile(path: string, options: OpenFileOptions = {}): Promise<OpenFile> {
  const { noFollow = false } = options;
  assertFit(await (noFollow ? lstat(path) : stat(path)), options);
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW, O_NOCTTY } = constants;
  const flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | (noFollow ? O_NOFOLLOW : 0);
  const handle = await open(path, flags);
  try {
    // The name may lead to another file by now.
    const status = await handle.stat();
    assertFit(status, options);
    return { handle, status, [Symbol.asyncDispose]: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Reads a regular UTF-8 file of at most `maxBytes` where nothing can wait for it, in the same way.
 *
 * @throws {UnfitFileError} If it is larger, or no regular file.
 * @throws The error of the file system if it cannot be opened or read.
 */
export function readRegularSync(path: string, maxBytes: number): string {
  const options = { regularOnly: true };
  assertFit(statSync(path), options);
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(descriptor);
    assertFit(status, options);
    if (status.size > maxBytes) throw new UnfitFileError(`it is larger than ${maxBytes} bytes`);
    return readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Checks what a file is.
 *
 * @throws {UnfitFileError}
 */
export function assertFit(status: Stats, { regularOnly, owners }: OpenFileOptions): void {
  const isUsual = status.isFile() || (regularOnly !== true && isStream(status));
  if (!isUsual) throw new UnfitFileError(`it is ${fileKind(status)}`);
  if (owners === undefined || owners.has(status.uid)) return;
  throw new UnfitFileError(`it belongs to user ${status.uid}`);
}

function isStream(status: Stats): boolean {
  return status.isFIFO() || status.isCharacterDevice();
}

/** Names the kind of a file in words. */
export function fileKind(status: Stats): string {
  if (status.isSymbolicLink()) return "a link";
  if (status.isDirectory()) return "a folder";
  if (status.isFIFO()) return "a pipe";
  if (status.isSocket()) return "a socket";
  return status.isFile() ? "a file" : "a device";
}
