import type { Stats } from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { HandpickError } from "../error.ts";
import { isAbsent, readBounded, readFailure } from "../files/read-bounded.ts";
import { type Config, type ConfigSearch, parseConfig } from "./config.ts";
import { asFound, foundNote } from "./found-config.ts";
import { namingHint, readFoundConfig } from "./found-file.ts";
import { userConfigDir } from "../home-directory.ts";

const MAX_CONFIG_BYTES = 256 * 1024;

export interface FindConfigOptions {
  /** The file of `--config`. */
  readonly file?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Numeric user; undefined where the platform has none. */
  readonly uid: number | undefined;
}

export interface LoadConfigOptions extends FindConfigOptions {
  /**
   * A `handpick.toml` that is found serves what somebody gives on the command line, and never what is
   * wanted on this machine.
   */
  readonly serves: ConfigSearch["serves"];
  /** The caches of `--to`, for the note to name. */
  readonly to?: readonly string[];
  /** Told that a file was found and is used, or is passed over. */
  readonly note?: (text: string) => void;
}

/**
 * Reads the configuration: the file that is named, else for arguments that of the working folder, else
 * the user's, for root then the system's. Without any, the configuration is empty.
 *
 * @throws {HandpickError} `CONFIG_UNREADABLE` if a file was named and is missing, or if one is
 *   there and cannot be read; `CONFIG_INVALID` if its text is wrong; `CONFIG_UNTRUSTED` if it was found
 *   in the working folder and is somebody else's, or does what such a file may not.
 */
export async function loadConfig(options: LoadConfigOptions): Promise<Config> {
  const { env, cwd, serves, note } = options;
  const named = namedFile(options);
  if (named !== undefined) return parseConfig(await readNamed(named), named, env);
  const own = await loadOwn(options);
  const project = join(cwd, "handpick.toml");
  const looked = [...(serves === "arguments" ? [project] : []), ...ownFiles(options)];
  if (await isTrusted(cwd, own)) {
    const text = await readIfThere(project, () => readUsual(project));
    if (text !== undefined) return parseConfig(text, project, env);
  }
  if (serves === "wanted") {
    // In a folder that we may not look into, nobody knows; a sync goes by other files anyway.
    const skipped = (await statusOf(project)) === undefined ? undefined : project;
    if (skipped !== undefined) note?.(skippedNote(skipped, own));
    return { ...own, search: { serves, looked, skipped } };
  }
  const request = { path: project, maxBytes: MAX_CONFIG_BYTES, ...options };
  const text = await readIfThere(project, () => readFoundConfig(request));
  const search = { serves, looked, skipped: undefined };
  if (text === undefined) return { ...own, search };
  const found = { ...(await asFound(parseConfig(text, project, env), own)), search };
  note?.(foundNote(found, options.to));
  return found;
}

/**
 * Checks that the file of `--config` is there, for commands that read nothing of it.
 *
 * @throws {HandpickError} `CONFIG_UNREADABLE`
 */
export async function assertConfigFile({
  file,
  cwd,
}: Pick<FindConfigOptions, "file" | "cwd">): Promise<void> {
  if (file === undefined) return;
  const path = resolve(cwd, file);
  await lstat(path).catch((error: unknown) => {
    if (isAbsent(error)) throw unreadable(path, "it does not exist", { hint: NAMED_HINT });
  });
}

/** The files that {@link loadConfig} believes without their being named, in this order. */
export function ownFiles({ env, uid }: Pick<FindConfigOptions, "env" | "uid">): string[] {
  const user = join(userConfigDir(env), "handpick", "config.toml");
  return uid === 0 ? [user, "/etc/handpick/config.toml"] : [user];
}

function namedFile({ file, env, cwd }: FindConfigOptions): string | undefined {
  const named = file ?? (env["HANDPICK_CONFIG"] || undefined);
  return named === undefined ? undefined : resolve(cwd, named);
}

/** The user's or the system's configuration; an empty one if there is none. */
async function loadOwn(options: FindConfigOptions): Promise<Config> {
  for (const path of ownFiles(options)) {
    const text = await readIfThere(path, () => readUsual(path));
    if (text !== undefined) return parseConfig(text, path, options.env);
  }
  return { ...parseConfig("", "/handpick.toml", {}), file: undefined };
}

/** Reads a file that is where it is by habit; only one that was named may be a pipe. */
async function readUsual(path: string): Promise<string> {
  return await readBounded(path, MAX_CONFIG_BYTES, { regularOnly: true });
}

async function readNamed(path: string): Promise<string> {
  return await readBounded(path, MAX_CONFIG_BYTES).catch((error: unknown) => {
    throw unreadable(path, readFailure(error), { cause: error, hint: NAMED_HINT });
  });
}

/** Undefined if there is no such file. A link that leads nowhere is one: the next file is not meant then. */
async function readIfThere(
  path: string,
  read: () => Promise<string | undefined>,
): Promise<string | undefined> {
  return await read().catch(async (error: unknown) => {
    if (error instanceof HandpickError) throw error;
    const isGone = isAbsent(error);
    if (isGone && (await statusOf(path)) === undefined) return undefined;
    const reason = isGone ? "it is a link that leads nowhere" : readFailure(error);
    throw unreadable(path, reason, { cause: error, hint: USUAL_HINT });
  });
}

const NAMED_HINT =
  "Check the file name given with --config or HANDPICK_CONFIG, and who may read it.";
const USUAL_HINT = "Mend or remove it, or name another file with --config.";

function unreadable(
  path: string,
  reason: string,
  { hint, cause }: { readonly hint: string; readonly cause?: unknown },
): HandpickError {
  const message = `Cannot read configuration ${path}: ${reason}`;
  return new HandpickError("CONFIG_UNREADABLE", message, { cause, hint });
}

/** Returns true if the user's file lists the working folder, whatever links lead there. */
async function isTrusted(cwd: string, { trustedProjects }: Config): Promise<boolean> {
  if (trustedProjects.length === 0) return false;
  const here = await resolved(cwd);
  return (await Promise.all(trustedProjects.map(resolved))).includes(here);
}

async function resolved(folder: string): Promise<string> {
  return await realpath(folder).catch(() => resolve(folder));
}

/** Undefined if the file is not there, or cannot be looked at. */
async function statusOf(path: string): Promise<Stats | undefined> {
  return await lstat(path).catch(() => undefined);
}

function skippedNote(project: string, { file }: Config): string {
  const instead = file === undefined ? "no other file is there" : `${file} is used`;
  return (
    `${project} was found in this folder and not named, so nothing that is wanted goes by it; ` +
    `${instead}\n  ${namingHint(project)}, or list ${dirname(project)} in trusted of [projects]`
  );
}
