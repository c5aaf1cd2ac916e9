import { lstat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import type { Companion } from "../contract.ts";
import { type CacheFolder, orAbsent } from "./cache-folder.ts";
import { FolderCommits } from "./folder-commits.ts";

/** The small files beside paths, written as narinfos are: `.partial/…` --> disk --> their name. */
export class CompanionFiles implements AsyncDisposable {
  readonly #folder: CacheFolder;
  readonly #commits: Map<string, FolderCommits>;

  /** @param commits Those of narinfos, in whose folder listings are too. */
  constructor(folder: CacheFolder, commits: FolderCommits) {
    this.#folder = folder;
    this.#commits = new Map([[".", commits]]);
  }

  /** Returns true if a file has the name. */
  async has(name: string): Promise<boolean> {
    return (await orAbsent(lstat(join(this.#folder.dir, name))))?.isFile() === true;
  }

  /**
   * Writes one; it is durable once this settles.
   *
   * @throws {HandpickError} `CACHE_NOT_FOUND` if its folder is a link or a file.
   * @throws The error of the file system.
   */
  async put({ name, bytes }: Companion): Promise<void> {
    const commits = this.#commits.get(dirname(name)) ?? (await this.#open(dirname(name)));
    const file = this.#folder.narInfos.create("companion");
    try {
      await file.write(bytes, 0);
      await file.finish();
      await commits.rename(file.path, basename(name));
    } finally {
      await file.remove();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const commits of this.#commits.values()) await commits[Symbol.asyncDispose]();
  }

  async #open(name: string): Promise<FolderCommits> {
    const dir = join(this.#folder.dir, name);
    await this.#folder.assertFolder(dir);
    const commits = this.#commits.get(name) ?? new FolderCommits(dir, this.#folder);
    this.#commits.set(name, commits);
    return commits;
  }
}
