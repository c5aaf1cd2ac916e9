import { lstat, realpath } from "node:fs/promises";
import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";
import { DEFAULT_STORE_DIR, isStorePath, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";

/** A store path, or something elsewhere, and where its files are. */
export interface Place {
  readonly path: StorePath | undefined;
  readonly real: string;
}

/**
 * Finds the store path that `file` is, lies below or links to, or the file outside of the store.
 *
 * @param input The text that the user gave for it, for messages.
 * @throws {HandpickError} `NOT_A_STORE_PATH` if there is nothing, or something in the store that is
 *   not a store path.
 */
export async function locate(input: string, file: string, store: Store): Promise<Place> {
  const path = pathInStore(input, file, store.storeDir) ?? (await followLinks(file, store));
  return path === undefined
    ? { path, real: await realFile(input, file, store.storeDir) }
    : { path, real: store.physicalPath(path) };
}

/** Returns true if there is anything of that name, be it a link to nothing. */
export async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}

/**
 * Returns true if there is something of that name that may stand for a path of a store: anything but a folder
 * outside of stores, which may have the name of a cache.
 */
export async function mayBeSelected(file: string): Promise<boolean> {
  const stats = await lstat(file).catch(() => undefined);
  if (stats?.isDirectory() !== true) return stats !== undefined;
  const parts = (await realpath(file)).split("/");
  return parts.some((part) => isStorePath(`${DEFAULT_STORE_DIR}/${part}`));
}

/** The error for an input that stands for no store path. */
export function notAStorePath(input: string, reason: string, hint: string): HandpickError {
  const message = `Cannot select ${quote(input)}: ${reason}`;
  return new HandpickError("NOT_A_STORE_PATH", message, { hint });
}

/** A store path may itself be a link; it is what was meant and not followed. */
function pathInStore(input: string, file: string, storeDir: string): StorePath | undefined {
  if (!file.startsWith(`${storeDir}/`)) return undefined;
  const baseName = file.slice(storeDir.length + 1).split("/", 1)[0] ?? "";
  const path = `${storeDir}/${baseName}`;
  if (isStorePath(path, storeDir)) return path;
  const reason = `${quote(baseName)} is not the base name of a store path`;
  throw notAStorePath(
    input,
    reason,
    "Copy the whole name: a hash of 32 characters, a dash, a name.",
  );
}

async function followLinks(file: string, store: Store): Promise<StorePath | undefined> {
  try {
    return await store.resolve(file);
  } catch (error) {
    if (error instanceof HandpickError && error.code === "NOT_A_STORE_PATH") return undefined;
    throw error;
  }
}

async function realFile(input: string, file: string, storeDir: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (error) {
    const code = systemCode(error) ?? "unknown error";
    if (code !== "ENOENT") {
      // Node's own text quotes the name whole, however long it is.
      const reason = `it cannot be reached: ${OBSTACLES[code] ?? code}`;
      throw notAStorePath(input, reason, ACCESS_HINT);
    }
    if (await exists(file)) throw notAStorePath(input, "it is a link to nothing", BROKEN_HINT);
    throw notAStorePath(input, "it does not exist", absentHint(input, storeDir));
  }
}

const OBSTACLES: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  ELOOP: "links lead in a circle",
  ENAMETOOLONG: "the name is too long",
  ENOTDIR: "a file is in its way",
  ERR_INVALID_ARG_VALUE: "the name holds a null byte",
};

const ACCESS_HINT = "Check the name, and every folder on the way to it.";
const BROKEN_HINT = "Build it again: its target was removed.";
const BUILD_HINT =
  "Build first, then name the link to the result; or name an installable such as .#tool.";

function absentHint(input: string, storeDir: string): string {
  if (isStorePath(`${storeDir}/${input}`, storeDir)) {
    return `Did you mean ${storeDir}/${input}?`;
  }
  if (!/^[\w+.-]+$/.test(input)) return BUILD_HINT;
  return (
    `Write nixpkgs#${input} for the package of nixpkgs, ./result for a build, ` +
    `or --to cachix://${input} if it is a cache.`
  );
}
