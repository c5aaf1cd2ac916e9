import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** A writer at the other end of a pipe, such as a password manager, may have to ask its user. */
const PIPE_PATIENCE_MS = 10_000;
const PIPE_POLL_MS = 20;

/**
 * Reads a small UTF-8 text file, pipes such as `/dev/fd/63` included, on which it waits for their
 * writer 10 s at most.
 *
 * @throws {RangeError} If it is larger than `maxBytes`, or does not come through a pipe in time.
 * @throws {TypeError} If it is not UTF-8.
 * @throws The error of the file system if it cannot be opened or read.
 */
export async function readBounded(path: string, maxBytes: number): Promise<string> {
  // Opening a pipe without a writer would block a thread for ever, and the end of the process too.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const isPipe = (await file.stat()).isFIFO();
  const deadlineMs = performance.now() + PIPE_PATIENCE_MS;
  const buffer = Buffer.alloc(maxBytes + 1);
  let length = 0;
  for (;;) {
    const bytesRead = await readSome(file, buffer.subarray(length));
    if (bytesRead === undefined || (bytesRead === 0 && isPipe && length === 0)) {
      if (performance.now() > deadlineMs) throw new RangeError(TOO_LATE);
      await sleep(PIPE_POLL_MS);
      continue;
    }
    if (bytesRead === 0) break;
    length += bytesRead;
    if (length > maxBytes) throw new RangeError(`it is larger than ${maxBytes} bytes`);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, length));
}

const TOO_LATE = `nobody wrote it all into that pipe within ${PIPE_PATIENCE_MS / 1000} s`;

/** The number of bytes read; 0 at the end, or while a pipe has no writer; undefined if it waits. */
async function readSome(file: FileHandle, target: Buffer): Promise<number | undefined> {
  try {
    return (await file.read(target, 0, target.length)).bytesRead;
  } catch (error) {
    if (errorCode(error) === "EAGAIN") return undefined;
    throw error;
  }
}

/** Says in a few words why reading failed. */
export function readFailure(error: unknown): string {
  switch (errorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return "it does not exist";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "EISDIR":
      return "it is a folder";
    case "ENXIO":
      return "it is a socket";
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return "it is not UTF-8 text";
    default:
      return error instanceof Error ? error.message : "unknown failure";
  }
}

/** Whether reading failed because there is no such file. */
export function isAbsent(error: unknown): boolean {
  return errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR";
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
