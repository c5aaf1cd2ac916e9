import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that is removed with everything in it when it is disposed. */
export interface TempDir extends AsyncDisposable {
  readonly dir: string;
}

/** Makes an empty folder with a short name (socket paths are limited to 107 bytes). */
export async function tempDir(prefix = "hp-", parent: string = tmpdir()): Promise<TempDir> {
  const dir = await mkdtemp(join(parent, prefix));
  return {
    dir,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
