import fs from "node:fs";

import { HandpickError } from "../error.ts";
import { isOutOfFiles, OPEN_FILES_HINT } from "../files/open-files.ts";
import { systemCode } from "../files/system-code.ts";

/**
 * How a directory entry reads: its name in the NAR and its name on disk. Names are bytes, kept as
 * Latin-1: a string is compared byte by byte then, and takes a fraction of a Buffer's memory.
 */
export interface StoreEntry {
  readonly narName: string;
  readonly fileName: string;
  readonly kind: "file" | "directory" | "symlink" | "other";
}

const CASE_HACK = "~nix~case~hack~";
/** Opens no link, and does not wait for a pipe. */
export const OPEN_FLAGS: number =
  fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/**
 * Lists a folder of a store path in the order of a NAR.
 *
 * @throws {HandpickError} As {@link attempt}; `STORE_PATH_CORRUPT` if `caseHack` gives two entries one name.
 */
export function listDirectory(path: Buffer, caseHack: boolean): StoreEntry[] {
  const found = attempt(path, () =>
    fs.readdirSync(path, { encoding: "latin1", withFileTypes: true }),
  );
  const entries = found.map((item) => ({
    narName: caseHack ? cutCaseHack(item.name) : item.name,
    fileName: item.name,
    kind: kindOf(item),
  }));
  entries.sort((a, b) => (a.narName < b.narName ? -1 : 1));
  if (caseHack) refuseDuplicates(path, entries);
  return entries;
}

function cutCaseHack(name: string): string {
  const at = name.indexOf(CASE_HACK);
  return at === -1 ? name : name.slice(0, at);
}

function refuseDuplicates(path: Buffer, entries: readonly StoreEntry[]): void {
  for (const [index, entry] of entries.entries()) {
    if (entries[index + 1]?.narName === entry.narName) {
      const shown = Buffer.from(entry.narName, "latin1").toString();
      throw corrupt(path, `found two entries named ${JSON.stringify(shown)}`);
    }
  }
}

/** Returns the kind of a node of a store path. */
export function kindOf(item: fs.Dirent | fs.Stats): StoreEntry["kind"] {
  if (item.isFile()) return "file";
  if (item.isDirectory()) return "directory";
  return item.isSymbolicLink() ? "symlink" : "other";
}

/**
 * Runs a file operation on a part of a store path.
 *
 * @throws {HandpickError} `STORE_PATH_GONE`, `STORE_PATH_UNREADABLE`, `STORE_PATH_CORRUPT` or `OPEN_FILES_LIMIT`.
 */
export function attempt<T>(path: Buffer, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    const code = systemCode(error) ?? "unknown error";
    const what = `Cannot read ${shown(path)}: ${code}`;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new HandpickError("STORE_PATH_GONE", what, {
        cause: error,
        hint: "It was garbage-collected or removed meanwhile; build it again.",
      });
    }
    if (isOutOfFiles(error)) {
      const why = `${what}: this process may open no more files`;
      throw new HandpickError("OPEN_FILES_LIMIT", why, { cause: error, hint: OPEN_FILES_HINT });
    }
    if (code === "ELOOP") throw corrupt(path, "expected a regular file, found a symlink");
    throw new HandpickError("STORE_PATH_UNREADABLE", what, {
      cause: error,
      hint: "Check the permissions of the file and the health of the disk.",
    });
  }
}

/** The error for a store path that is not as a store path may be. */
export function corrupt(path: Buffer, found: string): HandpickError {
  return new HandpickError(
    "STORE_PATH_CORRUPT",
    `Cannot read ${shown(path)} as part of a store path: ${found}`,
    { hint: "Run nix-store --verify --check-contents --repair." },
  );
}

/** A path may have thousands of characters; which store path it is stands in front. */
function shown(path: Buffer): string {
  const text = path.toString();
  return JSON.stringify(text.length > 500 ? `${text.slice(0, 250)}…${text.slice(-250)}` : text);
}
