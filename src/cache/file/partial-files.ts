import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { join, sep } from "node:path";

import type { FileCalls } from "../../files/file-calls.ts";
import { affordable } from "../../files/open-files.ts";

/**
 * How old a file is that nobody writes any more. A writer that lives touches its file within minutes;
 * a day is also more than clocks of two machines, or the time zone of a FAT disk, are apart.
 */
export const ABANDONED_MS: number = 24 * 60 * 60 * 1000;

/** Ends with the UUID that {@link PartialFiles.create} gives it: of others' files none is removed. */
const OURS = /-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const KNOWN_FILE = constants.O_WRONLY | constants.O_NOFOLLOW;

/** A folder that says by which calls its files are written. */
export interface Called {
  readonly calls: FileCalls;
}

/**
 * The folder `.partial`, where files are until they are whole: on the file system of the folder that it
 * is in, so that a rename takes them there. A killed process leaves files here and nowhere else.
 */
export class PartialFiles {
  readonly dir: string;
  readonly #folder: Called;

  constructor(parent: string, folder: Called) {
    this.dir = join(parent, ".partial");
    this.#folder = folder;
  }

  /** Names a new file; nothing is made yet. */
  create(name: string): PartialFile {
    return new PartialFile(`${this.dir}${sep}${name}-${randomUUID()}`, this.#folder.calls);
  }

  /** Removes what others began and left at least {@link ABANDONED_MS} ago. Best effort. */
  async sweep(nowMs: number): Promise<void> {
    for (const name of await readdir(this.dir).catch(() => [])) {
      if (!OURS.test(name)) continue;
      const file = join(this.dir, name);
      const status = await lstat(file).catch(() => undefined);
      if (status === undefined || status.isDirectory()) continue;
      if (nowMs - status.mtimeMs >= ABANDONED_MS)
        await rm(file, { force: true }).catch(() => undefined);
    }
  }
}

/** A file that is not whole yet. */
export class PartialFile {
  readonly path: string;
  /** Bytes that were written. */
  sizeBytes = 0;
  readonly #calls: FileCalls;
  #fd: Promise<number> | undefined;
  /** Settles once a descriptor that was released has everything on disk. */
  #released: Promise<void> | undefined;
  #isMade = false;
  #isRemoved = false;
  #users = 0;

  constructor(path: string, calls: FileCalls) {
    this.path = path;
    this.#calls = calls;
  }

  get isIdle(): boolean {
    return this.#users === 0;
  }

  /** Writes all of `bytes`; several writes at once are fine. */
  async write(bytes: Uint8Array, offset: number): Promise<void> {
    if (this.#isRemoved) throw new Error(`${this.path} was given up`);
    this.#users += 1;
    kept.add(this);
    try {
      this.#fd ??= this.#openFile();
      await this.#calls.writeAll(await this.#fd, bytes, offset);
      this.sizeBytes += bytes.length;
    } finally {
      this.#users -= 1;
    }
    await kept.releaseSurplus();
  }

  /** Closes the file once everything is on disk; a later write opens it again. */
  finish(): Promise<void> {
    this.#released = this.#release(this.#takeFd(), this.#released);
    return this.#released;
  }

  /** Gives the file up. */
  async remove(): Promise<void> {
    this.#isRemoved = true;
    const fd = await this.#takeFd()?.catch(() => undefined);
    if (fd !== undefined) await this.#closeQuietly(fd);
    if (this.#isMade) await rm(this.path, { force: true });
  }

  /** Nobody asks any more whether all of it is on disk. */
  async #closeQuietly(fd: number): Promise<void> {
    try {
      await this.#calls.close(fd);
    } catch {
      // it is closed all the same
    }
  }

  #takeFd(): Promise<number> | undefined {
    const fd = this.#fd;
    this.#fd = undefined;
    kept.delete(this);
    return fd;
  }

  async #openFile(): Promise<number> {
    if (this.#isMade) return await this.#calls.open(this.path, KNOWN_FILE);
    this.#isMade = true;
    // Readable as the umask says: the cache is for others too.
    return await this.#calls.open(this.path, NEW_FILE, 0o666);
  }

  async #release(
    taken: Promise<number> | undefined,
    before: Promise<void> | undefined,
  ): Promise<void> {
    await before;
    if (taken === undefined) return;
    const fd = await taken;
    try {
      await this.#calls.sync(fd);
    } finally {
      await this.#calls.close(fd);
    }
  }
}

/** Bounds how many files are open while nothing is written to them. */
class OpenFiles {
  readonly #limit: number;
  /** The one that was used last is last. */
  readonly #files = new Set<PartialFile>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(file: PartialFile): void {
    this.#files.delete(file);
    this.#files.add(file);
  }

  delete(file: PartialFile): void {
    this.#files.delete(file);
  }

  /** Closes the files that were idle longest. A failure is kept for whoever finishes the file. */
  async releaseSurplus(): Promise<void> {
    while (this.#files.size > this.#limit) {
      const idle = this.#files.values().find((file) => file.isIdle);
      if (idle === undefined) return;
      await idle.finish().catch(() => undefined);
    }
  }
}

/** Files of all folders that stay open while their paths wait for references. */
const kept = new OpenFiles(affordable(64, 1));
