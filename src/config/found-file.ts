import type { Stats } from "node:fs";
import { lstat, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { HandpickError } from "../error.ts";
import { isAbsent, readBounded } from "../files/read-bounded.ts";
import { systemCode } from "../files/system-code.ts";
import { shellWord } from "./shell-word.ts";

/** The user who runs handpick. */
export interface Reader {
  readonly env: NodeJS.ProcessEnv;
  /** Numeric user; undefined where the platform has none. */
  readonly uid: number | undefined;
}

/** A file of a project, and what an error about it needs. */
interface ProjectFile extends Reader {
  readonly path: string;
  readonly maxBytes: number;
}

const WRITABLE_BY_ALL = 0o002;

/**
 * Reads a `handpick.toml` that nobody named. As git does for repositories, it checks first that file,
 * link and folder are ours: what another user put there could send our packages anywhere.
 *
 * @returns The text; undefined if there is no such file.
 * @throws {HandpickError} `CONFIG_UNTRUSTED` if it is somebody else's.
 * @throws What reading fails with.
 */
export async function readFoundConfig(file: ProjectFile): Promise<string | undefined> {
  const { path } = file;
  const named = await lstat(path).catch(ignoreAbsence);
  if (named === undefined) return undefined;
  const refuse = (found: string): never => {
    const rule = `it was found and not named, and ${found}`;
    throw untrusted(`Cannot use configuration ${path}: ${rule}`, path);
  };
  const stranger = ownerFault(named, file);
  if (stranger !== undefined) refuse(stranger);
  const folder = ownerFault(await stat(dirname(path)), { ...file, isFolder: true });
  if (folder !== undefined) refuse(`its folder ${folder.replace(/^it /, "")}`);
  const inspect = (opened: Stats): void => {
    const fault = fileFault(opened, file);
    if (fault !== undefined) refuse(fault);
  };
  return await readBounded(path, file.maxBytes, { regularOnly: true, inspect });
}

/** The found `handpick.toml` that names a file, and the name it gives. */
export interface NamedInProject extends ProjectFile {
  /** The `handpick.toml`. */
  readonly foundFile: string;
  /** The content of the file in words, such as `the token of cache "mine"`. */
  readonly content: string;
}

/**
 * Reads a file that a found `handpick.toml` names: a file of ours inside the folder, wherever links
 * lead.
 *
 * @returns The text; undefined if there is no such file.
 * @throws {HandpickError} `CONFIG_UNTRUSTED` if it is outside of the folder or somebody else's.
 * @throws What reading fails with.
 */
export async function readInProject(file: NamedInProject): Promise<string | undefined> {
  const { path, foundFile, content } = file;
  const refuse = (found: string): never => {
    const rule = `${foundFile} was found and not named, and ${found}`;
    throw untrusted(`Cannot read ${content} from file ${path}: ${rule}`, foundFile);
  };
  const folder = dirname(foundFile);
  const real = await realpath(path).catch(ignoreAbsence);
  const isInside =
    real === undefined ? isBelow(path, folder) : isBelow(real, await realpath(folder));
  if (!isInside) refuse("the file is outside of its folder");
  if (real === undefined) return undefined;
  const inspect = (opened: Stats): void => {
    const fault = fileFault(opened, file);
    if (fault !== undefined) refuse(`its files have to be ours: ${fault}`);
  };
  const options = { regularOnly: true, noFollow: true, inspect };
  return await readBounded(real, file.maxBytes, options).catch(ignoreAbsence);
}

/**
 * Checks that a folder, there or yet to be made, is below the folder of a found `handpick.toml`, wherever
 * links lead.
 *
 * @returns The fault, to be said after the name of the folder; undefined if there is none.
 */
export async function placeFault(folder: string, foundFile: string): Promise<string | undefined> {
  // A link to nothing or in a circle, a file or a locked folder on the way has no real place.
  const project = await realpath(dirname(foundFile)).catch(ignoreSystemError);
  const real = await realPlace(folder).catch(ignoreSystemError);
  if (project === undefined || real === undefined) {
    return ", and the place that this leads to cannot be found";
  }
  if (isBelow(real, project)) return undefined;
  // The name is inside, so a link leads out.
  const leads = isBelow(folder, dirname(foundFile)) ? `, which leads to ${real}` : "";
  if (real === project) return `${leads}, and may only write below its folder`;
  return leads === "" ? ", which is outside of its folder" : `${leads}, outside of its folder`;
}

/** The real name of a folder; one that is not there is in the nearest one above it that is. */
async function realPlace(path: string): Promise<string> {
  const isThere = (await lstat(path).catch(ignoreAbsence)) !== undefined;
  return isThere ? await realpath(path) : join(await realPlace(dirname(path)), basename(path));
}

/** The same error with the way to allow it, for what was refused by a reader that does not know of the file. */
export function withNamingHint(error: HandpickError, foundFile = "handpick.toml"): HandpickError {
  return new HandpickError(error.code, error.message, {
    cause: error,
    hint: namingHint(foundFile),
  });
}

/** The error for something that a found `handpick.toml` may not do, with the way to allow it. */
export function untrusted(message: string, foundFile: string): HandpickError {
  return new HandpickError("CONFIG_UNTRUSTED", message, { hint: namingHint(foundFile) });
}

/** Says how to have a found file believed. */
export function namingHint(foundFile: string): string {
  return `If you trust it, name it: --config ${shellWord(foundFile)}`;
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

function fileFault(status: Stats, reader: Reader): string | undefined {
  if ((status.mode & WRITABLE_BY_ALL) !== 0) return "every user may write to it";
  return ownerFault(status, reader);
}

/** Root runs in the folders of whoever called sudo; root's folders are as good as ours. */
function ownerFault(
  { uid: owner }: Stats,
  { uid, env, isFolder = false }: Reader & { readonly isFolder?: boolean },
): string | undefined {
  if (uid === undefined || owner === uid || (isFolder && owner === 0)) return undefined;
  const caller = env["SUDO_UID"] ?? "";
  if (uid === 0 && /^\d{1,10}$/.test(caller) && owner === Number(caller)) return undefined;
  return `it belongs to user ${owner}, not to you (user ${uid})`;
}

function ignoreSystemError(error: unknown): undefined {
  if (systemCode(error) === undefined) throw error;
}

function ignoreAbsence(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}
