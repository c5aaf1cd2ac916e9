import type { Stats } from "node:fs";
import { access, chmod, constants, lstat, mkdir, rename, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import type { Clock } from "../../clock.ts";
import { HandpickError } from "../../error.ts";
import { callsIn, type FileCalls, threadCalls } from "../../files/file-calls.ts";
import { fileKind, UnfitFileError } from "../../files/open-file.ts";
import { isAbsent, readBounded, readFailure } from "../../files/read-bounded.ts";
import { systemCode } from "../../files/system-code.ts";
import { syncDirectory } from "../../files/write-whole.ts";
import { type NixCacheInfo, parseNixCacheInfo, printNixCacheInfo } from "../../nix/cache-info.ts";
import { type Format, FormatError } from "../../nix/format-error.ts";
import { CACHE_INFO_NAME } from "../binary-cache.ts";
import { fileUrl } from "./file-url.ts";
import { type Called, PartialFiles } from "./partial-files.ts";
import { unmountedPlace } from "./unmounted.ts";

/** In bytes. */
const LONGEST_CACHE_INFO = 64 * 1024;
const REFUSALS: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS"]);
/** The NARs of a cache. */
export const NAR_DIR = "nar";
/** Folders that Nix makes when it opens a cache, also to read: one that may not write needs them there. */
export const COMPANION_DIRS: readonly string[] = ["log", "realisations"];

/**
 * The folder of a cache, as Nix writes and reads it:
 *
 *     nix-cache-info      the store that it is of
 *     HASH.narinfo        a path, as soon as it is whole and durable
 *     nar/                compressed NARs, each named for its own hash
 *     HASH.ls log/ realisations/  what goes with paths, if the cache is to have it
 *     .partial/ nar/.partial/   files that are not whole yet
 *
 * Nothing in it is a link, or it is refused: a disk may have been made by somebody else.
 */
export class CacheFolder implements Called {
  /** In threads until {@link prepare} has seen that all of it is in memory. */
  calls: FileCalls = threadCalls;
  readonly dir: string;
  readonly url: string;
  readonly narDir: string;
  readonly narInfos: PartialFiles;
  readonly nars: PartialFiles;

  constructor(dir: string) {
    this.dir = resolve(dir);
    this.url = fileUrl(this.dir);
    this.narDir = join(this.dir, NAR_DIR);
    this.narInfos = new PartialFiles(this.dir, this);
    this.nars = new PartialFiles(this.narDir, this);
  }

  /**
   * Returns true if the folder is there. One that is not can be made if the folder that it goes to exists:
   * a disk that is not mounted has not even that, as a rule.
   *
   * @throws {HandpickError} `CACHE_NOT_FOUND` if it is no folder, `CACHE_UNAVAILABLE` if it cannot be made.
   */
  async exists(): Promise<boolean> {
    const place = await unmountedPlace(this.dir);
    if (place !== undefined) {
      throw new HandpickError(
        "CACHE_UNAVAILABLE",
        `Cannot use the folder ${JSON.stringify(this.dir)} as a cache: nothing is mounted at ${JSON.stringify(place)}`,
        { hint: "Mount the disk; /etc/fstab says that one belongs there." },
      );
    }
    const status = await orAbsent(stat(this.dir));
    if (status?.isDirectory() === true) return true;
    if (status !== undefined) throw this.#noFolder(`it is ${fileKind(status)}`);
    const link = await orAbsent(lstat(this.dir));
    if (link?.isSymbolicLink() === true) throw this.#noFolder("it is a link that leads nowhere");
    if ((await orAbsent(stat(dirname(this.dir))))?.isDirectory() === true) return false;
    await this.#assertFoldersAbove();
    throw new HandpickError(
      "CACHE_UNAVAILABLE",
      `Cannot use the folder ${JSON.stringify(this.dir)} as a cache: ${JSON.stringify(dirname(this.dir))} does not exist`,
      { hint: "Mount the disk that it is on, or make that folder." },
    );
  }

  /**
   * Reads `nix-cache-info`; one that is absent says nothing.
   *
   * @throws {FormatError} If it is something else.
   */
  async info(): Promise<NixCacheInfo> {
    const file = join(this.dir, CACHE_INFO_NAME);
    const limits = { maxBytes: LONGEST_CACHE_INFO, format: "nix-cache-info" } as const;
    const text = await readText(file, limits);
    return parseNixCacheInfo(text ?? "");
  }

  /**
   * Returns true if this user may write there, or make it.
   *
   * @throws {HandpickError} As {@link exists} does, and `CACHE_NOT_FOUND` if a part of it is a link or a file.
   * @throws The error of the file system if it is no refusal: that of a disk which fails, for instance.
   */
  async isWritable(): Promise<boolean> {
    const present = (await this.exists())
      ? [this.dir, ...(await this.#presentParts())]
      : [dirname(this.dir)];
    return (await Promise.all(present.map(mayWrite))).every(Boolean);
  }

  /**
   * Makes the folder ready for writing, and what is missing in it.
   *
   * @returns The store that it is of.
   * @throws {HandpickError} As {@link exists} does, and `CACHE_NOT_FOUND` if a part of it is a link or a file.
   * @throws The error of the file system.
   */
  async prepare(storeDir: string, clock: Clock): Promise<string> {
    const isNew = !(await this.exists());
    if (isNew) await make(this.dir);
    const made: boolean[] = [];
    // Users who share the folder share the folders in it: these get the same mode.
    const { mode } = await stat(this.dir);
    for (const name of COMPANION_DIRS) made.push(await make(join(this.dir, name), mode));
    for (const folder of this.#parts()) {
      made.push(await make(folder, mode));
      await this.assertFolder(folder);
    }
    this.calls = await callsIn([this.dir, ...this.#parts()]);
    const found = (await this.info()).storeDir;
    if (found === undefined) await this.#writeInfo(storeDir);
    if (found === undefined || made.includes(true)) await syncDirectory(this.dir);
    if (isNew) await syncDirectory(dirname(this.dir));
    await Promise.all([this.narInfos.sweep(clock.now()), this.nars.sweep(clock.now())]);
    return found ?? storeDir;
  }

  /**
   * Checks a folder in it that {@link prepare} made, or found.
   *
   * @throws {HandpickError} `CACHE_NOT_FOUND` if it is a link or a file.
   */
  async assertFolder(folder: string): Promise<void> {
    const status = await lstat(folder);
    if (!status.isDirectory()) throw this.#foreign(folder, status);
  }

  /** A file above the folder is none of a disk that is not mounted. */
  async #assertFoldersAbove(): Promise<void> {
    for (let above = dirname(this.dir); above !== dirname(above); above = dirname(above)) {
      const status = await orAbsent(stat(above));
      if (status?.isDirectory() === true) return;
      if (status === undefined) continue;
      throw new HandpickError(
        "CACHE_NOT_FOUND",
        `Cannot use the folder ${JSON.stringify(this.dir)} as a cache: ${JSON.stringify(above)} is ${fileKind(status)}`,
        { hint: "Correct the URL of the cache: only folders may be above its last part." },
      );
    }
  }

  /** The folders in it that files are written to, each after the one it is in. */
  #parts(): string[] {
    return [this.narInfos.dir, this.narDir, this.nars.dir];
  }

  async #presentParts(): Promise<string[]> {
    const present: string[] = [];
    for (const folder of this.#parts()) {
      const status = await orAbsent(lstat(folder));
      if (status?.isDirectory() === false) throw this.#foreign(folder, status);
      if (status !== undefined) present.push(folder);
    }
    return present;
  }

  async #writeInfo(storeDir: string): Promise<void> {
    const file = this.narInfos.create(CACHE_INFO_NAME);
    try {
      await file.write(Buffer.from(printNixCacheInfo({ storeDir })), 0);
      await file.finish();
      await rename(file.path, join(this.dir, CACHE_INFO_NAME));
    } finally {
      await file.remove();
    }
  }

  #noFolder(found: string): HandpickError {
    return new HandpickError(
      "CACHE_NOT_FOUND",
      `Cannot use ${JSON.stringify(this.dir)} as a cache: expected a folder, ${found}`,
      { hint: "Correct the URL of the cache, or remove what is there." },
    );
  }

  #foreign(folder: string, status: Stats): HandpickError {
    return new HandpickError(
      "CACHE_NOT_FOUND",
      `Cannot use the folder ${JSON.stringify(folder)} of a cache: expected a folder, it is ${fileKind(status)}`,
      { hint: "Look at it; handpick follows no link inside a cache." },
    );
  }
}

/**
 * Reads a text of a cache; undefined if there is none.
 *
 * @throws {FormatError} If it is something else than a file of that size: a link, a pipe, a folder.
 * @throws The error of the file system.
 */
export async function readText(
  file: string,
  { maxBytes, format }: { readonly maxBytes: number; readonly format: Format },
): Promise<string | undefined> {
  try {
    return await orAbsent(readBounded(file, maxBytes, { noFollow: true, regularOnly: true }));
  } catch (cause) {
    if (!(cause instanceof UnfitFileError || cause instanceof TypeError)) throw cause;
    const message = `Cannot read ${JSON.stringify(file)}: ${readFailure(cause)}`;
    throw new FormatError(format, message, { cause });
  }
}

/** Waits for a look at a file; undefined if there is none. */
export async function orAbsent<T>(looked: Promise<T>): Promise<T | undefined> {
  return await looked.catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
}

/** @throws The error of the file system if it is no refusal. */
async function mayWrite(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch (error) {
    if (REFUSALS.has(systemCode(error) ?? "")) return false;
    throw error;
  }
}

/** Makes a folder, with the mode or as the umask says; false if something has the name. */
async function make(folder: string, mode?: number): Promise<boolean> {
  try {
    await mkdir(folder);
    if (mode !== undefined) await setMode(folder, mode & 0o7777);
    return true;
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    return false;
  }
}

/** How disks say that their files have no modes of their own, as those with FAT do, or not for us. */
const NO_MODES: readonly (string | undefined)[] = ["ENOSYS", "ENOTSUP", "EPERM"];

async function setMode(folder: string, mode: number): Promise<void> {
  try {
    await chmod(folder, mode);
  } catch (error) {
    if (!NO_MODES.includes(systemCode(error))) throw error;
  }
}
