import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";

import { SharedRuns } from "./shared-runs.ts";

/** The folder of compressed NARs; it is synced once for all that get their names at a time. */
export class NarFolder implements AsyncDisposable {
  readonly #dir: string;
  readonly #syncs = new SharedRuns(() => this.#sync());
  #handle: FileHandle | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Gives a file, which is on disk, its name for good. The name is on disk when this settles. */
  async keep(file: string, name: string): Promise<void> {
    await rename(file, join(this.#dir, name));
    await this.#syncs.run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle?.close();
  }

  async #sync(): Promise<void> {
    this.#handle ??= await open(this.#dir, "r");
    await this.#handle.sync();
  }
}
