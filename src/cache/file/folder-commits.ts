import { constants } from "node:fs";
import { join } from "node:path";

import { systemCode } from "../../files/system-code.ts";
import type { Called } from "./partial-files.ts";

/** File systems that cannot be asked for the names in a folder, some of FUSE among them. */
export const UNASKABLE: ReadonlySet<string> = new Set([
  "EINVAL",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
]);

interface Renaming {
  readonly from: string;
  readonly to: string;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * Gives files their names in one folder. Names that come while others are on their way to the disk go
 * together: the folder is synced once for all of them.
 */
export class FolderCommits implements AsyncDisposable {
  readonly #dir: string;
  readonly #folder: Called;
  #waiting: Renaming[] = [];
  #running: Promise<void> | undefined;
  #fd: number | undefined;

  constructor(dir: string, folder: Called) {
    this.#dir = dir;
    this.#folder = folder;
  }

  /**
   * Names a file, in place of one that has the name. It is on disk already; its name is once this settles.
   *
   * @throws The error of the file system.
   */
  rename(from: string, name: string): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ from, to: join(this.#dir, name), done });
    this.#running ??= this.#run();
    return done.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Names that arrive in this turn of the event loop join the first group.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      await this.#commit(group);
    }
    this.#running = undefined;
    // A folder that is open keeps its disk from being unmounted.
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await this.#close(fd);
  }

  async #commit(group: readonly Renaming[]): Promise<void> {
    const named: Renaming[] = [];
    const one = async (renaming: Renaming): Promise<void> => {
      await this.#folder.calls.rename(renaming.from, renaming.to);
      named.push(renaming);
    };
    await Promise.all(group.map((each) => one(each).catch((error) => each.done.reject(error))));
    if (named.length === 0) return;
    const failure = await this.#sync().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    for (const { done } of named) {
      if (failure === undefined) done.resolve();
      else done.reject(failure.error);
    }
  }

  async #sync(): Promise<void> {
    this.#fd ??= await this.#folder.calls.open(this.#dir, constants.O_RDONLY);
    try {
      await this.#folder.calls.sync(this.#fd);
    } catch (error) {
      if (!UNASKABLE.has(systemCode(error) ?? "")) throw error;
    }
  }

  async #close(fd: number): Promise<void> {
    try {
      await this.#folder.calls.close(fd);
    } catch {
      // The names are on disk: nothing was written by way of this descriptor.
    }
  }
}
