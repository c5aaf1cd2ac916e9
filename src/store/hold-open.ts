import { once } from "node:events";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";

import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";
import type { StorePath } from "../nix/store-path.ts";
import { isOutOfFiles, OPEN_FILES_HINT } from "../files/open-files.ts";
import { holdNamed } from "./hold-named.ts";
import { physicalPathOf, type StoreLayout } from "./layout.ts";

const COLLECTOR_TIMEOUT_MS = 120_000;

/** None runs (the file of its socket stays behind), or it has finished meanwhile. */
const NO_COLLECTOR = ["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE"];

/** Linux's O_PATH, which Node does not name: opens a link itself, and files we may not read. */
const O_PATH = 0o10000000;
const OPEN_ITSELF =
  process.platform === "darwin" ? constants.O_SYMLINK : O_PATH | constants.O_NOFOLLOW;

/**
 * Keeps `paths` from a garbage collector without a daemon: it spares what a process has open, and
 * one that is already at work is told through its socket. In a chroot store an open file has another
 * name than the collector looks for, so there a process names the paths instead. Paths that do not
 * exist are passed over, so validity has to be asked afterwards.
 */
export async function holdOpen(
  layout: StoreLayout,
  paths: readonly StorePath[],
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  await using held = new AsyncDisposableStack();
  if (layout.realStoreDir === layout.storeDir) await openAll(layout, paths, held);
  else held.use(await holdNamed(paths).catch(noProcess));
  await tellCollector(join(layout.stateDir, "gc-socket/socket"), paths, signal);
  return held.move();
}

async function openAll(
  layout: StoreLayout,
  paths: readonly StorePath[],
  held: AsyncDisposableStack,
): Promise<void> {
  for (const path of paths) {
    const handle = await openItself(physicalPathOf(layout, path));
    if (handle !== undefined) held.use(handle);
  }
}

async function openItself(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, OPEN_ITSELF);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw cannotHold(`found that ${quote(file)} cannot be opened`, error);
  }
}

/** Asks a collector that is at work to spare `paths`; returns at once if there is none. */
async function tellCollector(
  socketPath: string,
  paths: readonly StorePath[],
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const socket = connect({ path: socketPath, signal });
  socket.setTimeout(COLLECTOR_TIMEOUT_MS, () => socket.destroy(new Error("it does not answer")));
  try {
    await once(socket, "connect");
    socket.write(paths.map((path) => `${path}\n`).join(""));
    await readAcknowledgements(socket, paths.length);
  } catch (error) {
    signal.throwIfAborted();
    if (NO_COLLECTOR.some((code) => systemCode(error) === code)) return;
    throw cannotHold(`found trouble with the collector on ${quote(socketPath)}`, error);
  } finally {
    socket.destroy();
  }
}

/** Reads one byte for each path; an end before that means that the collector has finished. */
async function readAcknowledgements(socket: Socket, count: number): Promise<void> {
  let left = count;
  for await (const chunk of socket) {
    left -= (chunk as Buffer).length;
    if (left <= 0) return;
  }
}

function noProcess(error: unknown): never {
  throw cannotHold("found that a process that names them cannot be started", error);
}

function cannotHold(found: string, cause: unknown): HandpickError {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  const hint = "Start nix-daemon, which protects paths by itself.";
  const isLimit = isOutOfFiles(cause);
  return new HandpickError(
    isLimit ? "OPEN_FILES_LIMIT" : "STORE_FAILED",
    `Cannot protect store paths from garbage collection: ${found}${reason}`,
    { cause, hint: isLimit ? `${OPEN_FILES_HINT} ${hint}` : hint },
  );
}
