import { spawn } from "node:child_process";
import { type FileHandle, lstat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import { openFile } from "../files/open-file.ts";
import { isAbsent, readFailure } from "../files/read-bounded.ts";
import { baseNameOf, type StorePath } from "../nix/store-path.ts";
import type { StoreLayout } from "./layout.ts";

/** A log that Nix kept of a build, or the reason why it cannot be read. */
export type FoundLog =
  | {
      readonly file: string;
      readonly isCompressed: boolean;
      readonly sizeBytes: number;
      /** When it was begun and written last, in milliseconds since 1970; 0 where the system does not know. */
      readonly birthMs: number;
      readonly writtenMs: number;
    }
  | { readonly fault: string };

/** The text of a log, or the reason why there is none. */
export type BuildLog = { readonly bytes: Uint8Array<ArrayBuffer> } | { readonly fault: string };

export interface BuildLogOptions {
  /** Of its text. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  /** The variables of the program that decompresses it; `PATH` is passed on. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv;
  /** How long that program may take, in milliseconds. @default {60_000} */
  readonly patienceMs?: number;
}

const BZIP2_SUFFIX = ".bz2";
const PATIENCE_MS = 60_000;
/** Most of what the program may say about a damaged log. */
const LONGEST_COMPLAINT = 200;

/** Looks where Nix does for the log of the last build of a derivation; undefined if there is none. */
export async function findBuildLog(
  { logDir }: StoreLayout,
  derivation: StorePath,
): Promise<FoundLog | undefined> {
  const name = baseNameOf(derivation);
  const drvs = join(logDir, "drvs");
  const plain = [join(drvs, name.slice(0, 2), name.slice(2)), join(drvs, name)];
  for (const file of plain.flatMap((file) => [file, `${file}${BZIP2_SUFFIX}`])) {
    try {
      const { size, birthtimeMs, mtimeMs } = await lstat(file);
      const isCompressed = file.endsWith(BZIP2_SUFFIX);
      return { file, isCompressed, sizeBytes: size, birthMs: birthtimeMs, writtenMs: mtimeMs };
    } catch (error) {
      if (!isAbsent(error)) return { fault: cannotRead(error) };
    }
  }
  return undefined;
}

/**
 * Reads a log that was found.
 *
 * @throws The reason `signal` was aborted with.
 */
export async function readBuildLog(found: FoundLog, options: BuildLogOptions): Promise<BuildLog> {
  if ("fault" in found) return found;
  try {
    await using log = await openFile(found.file, { noFollow: true, regularOnly: true });
    // Text that compresses to more than it may have is longer still.
    if (log.status.size > options.maxBytes) return tooLong(options);
    const read = found.isCompressed ? decompress : readPlain;
    return await read(log.handle, options);
  } catch (error) {
    options.signal.throwIfAborted();
    return { fault: cannotRead(error) };
  }
}

async function readPlain(handle: FileHandle, options: BuildLogOptions): Promise<BuildLog> {
  options.signal.throwIfAborted();
  // A build may be writing it.
  const bytes = await gather(handle.createReadStream({ autoClose: false }), options.maxBytes);
  return bytes === undefined ? tooLong(options) : { bytes };
}

async function decompress(handle: FileHandle, options: BuildLogOptions): Promise<BuildLog> {
  const { maxBytes, signal, env = process.env, patienceMs = PATIENCE_MS } = options;
  const late = AbortSignal.timeout(patienceMs);
  const child = spawn("bzip2", ["--decompress", "--stdout"], {
    // Variables such as BZIP2 would change what it does.
    env: { PATH: env["PATH"] },
    signal: AbortSignal.any([signal, late]),
    killSignal: "SIGKILL",
    stdio: ["pipe", "pipe", "pipe"],
  });
  // How bzip2 ends tells why it read no more.
  pipeline(handle.createReadStream({ autoClose: false }), child.stdin).catch(() => undefined);
  let failure: NodeJS.ErrnoException | undefined;
  child.on("error", (error) => (failure = error));
  let complaint = "";
  child.stderr.on("data", (text: Buffer) => {
    complaint = `${complaint}${text.toString()}`.slice(0, LONGEST_COMPLAINT);
  });
  const closed = new Promise((resolve) => child.on("close", resolve));
  const bytes = await gather(child.stdout, maxBytes);
  if (bytes === undefined) child.kill("SIGKILL");
  await closed;
  signal.throwIfAborted();
  if (late.aborted)
    return { fault: `bzip2 took more than ${patienceMs / 1000} s to decompress it` };
  if (bytes === undefined) return tooLong(options);
  if (failure?.code === "ENOENT") return { fault: "it is compressed, and bzip2 is not on PATH" };
  if (failure !== undefined) return { fault: `bzip2 does not start: ${failure.message}` };
  if (child.exitCode === 0) return { bytes };
  return { fault: `bzip2 cannot decompress it: ${firstLine(complaint)}` };
}

/** Returns undefined if there is more. */
async function gather(
  stream: AsyncIterable<Buffer>,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > maxBytes) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function tooLong({ maxBytes }: BuildLogOptions): BuildLog {
  return { fault: `it has more than ${maxBytes} bytes` };
}

function cannotRead(error: unknown): string {
  return `it cannot be read: ${readFailure(error)}`;
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0]?.replaceAll(/\p{C}/gu, " ") ?? "";
}
