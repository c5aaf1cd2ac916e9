import type { Stats } from "node:fs";
import { lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";

import type { Clock } from "../../clock.ts";
import { HandpickError } from "../../error.ts";
import { fileKind, openFile } from "../../files/open-file.ts";
import { systemCode } from "../../files/system-code.ts";
import { syncDirectory } from "../../files/write-whole.ts";
import { forEachConcurrent } from "../for-each-concurrent.ts";
import type { CacheCompanions } from "../contract.ts";
import type { CacheFile, CacheFiles, CachePruner } from "../pruner.ts";
import { type CacheFolder, COMPANION_DIRS, NAR_DIR, orAbsent } from "./cache-folder.ts";
import { fileError, type FileErrorOptions } from "./file-error.ts";
import { UNASKABLE } from "./folder-commits.ts";

export interface FilePrunerOptions {
  /** The cache, for messages. */
  readonly label: string;
  readonly folder: CacheFolder;
  readonly companions: CacheCompanions;
  readonly clock: Clock;
  readonly atOnce: number;
}

/** Removes files of a cache that is a folder. */
export class FilePruner implements CachePruner {
  readonly atOnce: number;
  readonly #options: FilePrunerOptions;

  constructor(options: FilePrunerOptions) {
    this.atOnce = options.atOnce;
    this.#options = options;
  }

  async list(signal: AbortSignal): Promise<CacheFiles> {
    signal.throwIfAborted();
    const { label, folder, clock } = this.#options;
    const nowMs = clock.now();
    const files: CacheFile[] = [];
    await this.#explained({ action: `list what is in ${label}`, isReading: true }, async () => {
      if (!(await folder.exists())) return;
      for (const part of ["", NAR_DIR, ...COMPANION_DIRS]) {
        files.push(...(await this.#listPart(part, signal)));
      }
    });
    return { nowMs, files };
  }

  async read(name: string, signal: AbortSignal): Promise<Buffer | undefined> {
    signal.throwIfAborted();
    return await this.#explained({ action: this.#action("read", name), isReading: true }, () =>
      orAbsent(this.#readWhole(name)),
    );
  }

  async remove(file: CacheFile, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const path = join(this.#options.folder.dir, file.name);
    return await this.#explained({ action: this.#action("remove", file.name) }, async () => {
      const found = await orAbsent(lstat(path));
      if (found === undefined) return true;
      if (!found.isFile() || versionOf(found) !== file.version) return false;
      await orAbsent(unlink(path));
      return true;
    });
  }

  async putBack(name: string, bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void> {
    const { companions } = this.#options;
    const missing = await companions.missing([name], signal);
    if (missing.has(name)) await companions.put({ name, bytes, contentType: "" }, signal);
  }

  async settle(): Promise<void> {
    const { label, folder } = this.#options;
    await this.#explained({ action: `write to ${label}` }, async () => {
      for (const part of ["", ...COMPANION_DIRS]) {
        await orAbsent(syncDirectory(join(folder.dir, part))).catch((error: unknown) => {
          if (!UNASKABLE.has(systemCode(error) ?? "")) throw error;
        });
      }
    });
  }

  async #listPart(part: string, signal: AbortSignal): Promise<CacheFile[]> {
    const { folder, atOnce } = this.#options;
    const dir = join(folder.dir, part);
    const names = await orAbsent(readdir(dir));
    if (names === undefined) return [];
    if (part !== "") await folder.assertFolder(dir);
    const files: CacheFile[] = [];
    await forEachConcurrent(names, { limit: atOnce, signal }, async (name) => {
      const status = await orAbsent(lstat(join(dir, name)));
      if (status === undefined) return;
      if (status.isFile()) files.push(toFile(part === "" ? name : `${part}/${name}`, status));
      else if (name.endsWith(".narinfo")) throw this.#foreign(name, status);
    });
    return files;
  }

  async #readWhole(name: string): Promise<Buffer> {
    const path = join(this.#options.folder.dir, name);
    await using file = await openFile(path, { noFollow: true, regularOnly: true });
    return await file.handle.readFile();
  }

  #foreign(name: string, status: Stats): HandpickError {
    return new HandpickError(
      "CACHE_PROTOCOL",
      `Cannot list what is in ${this.#options.label}: ${JSON.stringify(name)} is ${fileKind(status)}, so what it needs is not known`,
      { hint: "Look at it; handpick follows no link inside a cache." },
    );
  }

  #action(verb: string, name: string): string {
    return `${verb} ${JSON.stringify(name)} of ${this.#options.label}`;
  }

  async #explained<T>(about: Omit<FileErrorOptions, "dir">, task: () => Promise<T>): Promise<T> {
    try {
      return await task();
    } catch (error) {
      throw await fileError(error, { ...about, dir: this.#options.folder.dir });
    }
  }
}

/** A file that was copied here keeps the time that it had elsewhere; the change of its record is of this disk. */
function toFile(name: string, status: Stats): CacheFile {
  const modifiedMs = Math.max(status.mtimeMs, status.ctimeMs);
  return { name, sizeBytes: status.size, modifiedMs, version: versionOf(status) };
}

function versionOf({ mtimeMs, ctimeMs, size }: Stats): string {
  return `${mtimeMs} ${ctimeMs} ${size}`;
}
