import { readdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";

import { baseNameOf, type StorePath } from "../nix/store-path.ts";
import { type StateFolder, stateUnusable } from "./state-folder.ts";

/**
 * Makes the roots of a state folder those for `paths`, which have to be safe from the garbage
 * collector until this returns. Known ones are registered again: nothing says that it went well.
 *
 * @param register Tells Nix of a link; false if there is no way to.
 * @returns False if Nix could not be told of one.
 * @throws {HandpickError} `FILE_UNUSABLE` if links cannot be made or removed.
 */
export async function keepRoots(
  folder: StateFolder,
  paths: ReadonlySet<StorePath>,
  register: (link: string) => Promise<boolean>,
): Promise<boolean> {
  const wanted = new Map([...paths].map((path) => [baseNameOf(path), path]));
  let isComplete = true;
  for (const [name, path] of wanted) {
    const link = join(folder.roots, name);
    await symlink(path, link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw stateUnusable(folder.dir, error);
    });
    isComplete = (await register(link)) && isComplete;
  }
  for (const name of await readdir(folder.roots)) {
    if (!wanted.has(name)) await rm(join(folder.roots, name), { force: true });
  }
  return isComplete;
}
