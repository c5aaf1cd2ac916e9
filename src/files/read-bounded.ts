import type { Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { openFile, type OpenFileOptions, UnfitFileError } from "./open-file.ts";
import { systemCode } from "./system-code.ts";

/** A writer at the other end of a pipe, such as a password manager, may have to ask its user. */
const PIPE_PATIENCE_MS = 10_000;
/** Pipes that were handed to this process, as by `<(…)`: without a writer they are at their end. */
const HANDED_OVER = /^\/(?:dev\/(?:stdin$|fd\/)|proc\/[^/]+\/fd\/)/;
const PIPE_POLL_MS = 20;

export interface ReadOptions extends OpenFileOptions {
  /** How long the writer of a pipe may take; nobody may for 10 s at most. @default {10_000} */
  readonly patienceMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
  /** Looks at the file that was opened, before it is read; throws to refuse it. */
  readonly inspect?: (status: Stats) => void;
}

/**
 * Reads a small UTF-8 text file that others may have made. Unless only regular files are taken, pipes
 * such as `/dev/fd/63` are read too, and their writers waited for within bounds.
 *
 * @throws {UnfitFileError} If it is larger than `maxBytes`, of a kind or an owner that `options`
 *   refuse, or does not come through a pipe in time.
 * @throws {TypeError} If it is not UTF-8.
 * @throws The error of the file system if it cannot be opened or read.
 */
export async function readBounded(
  path: string,
  maxBytes: number,
  options: ReadOptions = {},
): Promise<string> {
  await using file = await openFile(path, options);
  options.inspect?.(file.status);
  const { patienceMs = PIPE_PATIENCE_MS, signal } = options;
  const { size } = file.status;
  const tooLarge = `it is larger than ${maxBytes} bytes`;
  if (file.status.isFile() && size > maxBytes) throw new UnfitFileError(tooLarge);
  const startMs = performance.now();
  const chunks: Buffer[] = [];
  let length = 0;
  for (;;) {
    // Files of /proc have no size.
    const chunk = Buffer.allocUnsafe(Math.min(maxBytes + 1 - length, Math.max(size + 1, 64 << 10)));
    const bytesRead = await readSome(file.handle, chunk);
    const isUnwritten = bytesRead === 0 && length === 0 && isNamedPipe(path, file.status);
    if (bytesRead === undefined || isUnwritten) {
      const limitMs = isUnwritten ? Math.min(patienceMs, PIPE_PATIENCE_MS) : patienceMs;
      if (performance.now() > startMs + limitMs) throw tooLate(limitMs);
      await sleep(PIPE_POLL_MS, undefined, signal === undefined ? {} : { signal });
      continue;
    }
    if (bytesRead === 0) break;
    chunks.push(chunk.subarray(0, bytesRead));
    length += bytesRead;
    if (length > maxBytes) throw new UnfitFileError(tooLarge);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
}

/** Tells a pipe that a writer may still come to. */
function isNamedPipe(path: string, status: Stats): boolean {
  return status.isFIFO() && !HANDED_OVER.test(path);
}

function tooLate(patienceMs: number): UnfitFileError {
  return new UnfitFileError(`the pipe was not written to its end within ${patienceMs / 1000} s`);
}

/** The number of bytes read; 0 at the end, or while a pipe has no writer; undefined if it waits. */
async function readSome(file: FileHandle, target: Buffer): Promise<number | undefined> {
  try {
    return (await file.read(target, 0, target.length)).bytesRead;
  } catch (error) {
    if (systemCode(error) === "EAGAIN") return undefined;
    throw error;
  }
}

const READ_FAILURES: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  ENOTDIR: "it does not exist",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a folder",
  ELOOP: "its links lead round in a circle",
  ENXIO: "it is a socket",
  ERR_ENCODING_INVALID_ENCODED_DATA: "it is not UTF-8 text",
};

/** Says in a few words why reading failed. */
export function readFailure(error: unknown): string {
  const known = READ_FAILURES[systemCode(error) ?? ""];
  return known ?? (error instanceof Error ? error.message : "unknown failure");
}

/** Returns true if reading failed because there is no such file. */
export function isAbsent(error: unknown): boolean {
  return systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR";
}
