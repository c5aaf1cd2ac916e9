import { basename, dirname, join } from "node:path";

import type { HashPart } from "../../nix/store-path.ts";
import type { Companion } from "../contract.ts";
import type { CacheFolder } from "./cache-folder.ts";
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

  /**
   * Writes one that belongs to a path; it is durable once this settles.
   *
   * @throws {HandpickError} `CACHE_NOT_FOUND` if its folder is a link or a file.
   * @throws The error of the file system.
   */
  async put({ name, bytes }: Companion, hashPart: HashPart): Promise<void> {
    const commits = this.#commits.get(dirname(name)) ?? (await this.#open(dirname(name)));
    const file = this.#folder.narInfos.create(hashPart);
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
    const commits = this.#commits.get(name) ?? new FolderCommits(dir);
    this.#commits.set(name, commits);
    return commits;
  }
}
