import { readlink, symlink } from "node:fs/promises";
import { join } from "node:path";

import { makeFolder } from "../files/make-folder.ts";
import { baseNameOf, type StorePath } from "../nix/store-path.ts";
import { discard, entriesOf } from "./discard.ts";
import type { PassedOver } from "./passed-over.ts";
import { type StateFolder, stateUnusable } from "./state-folder.ts";

export interface KeepRootsOptions {
  /** Tells Nix of a link; false if there is no way to. */
  readonly register: (link: string) => Promise<boolean>;
  readonly passedOver: PassedOver;
}

/**
 * Makes the roots of a state folder those for `paths`, which have to be safe from the garbage
 * collector until this returns. Known ones are registered again: nothing says that it went well.
 *
 * @returns False if Nix could not be told of one.
 * @throws {HandpickError} `FILE_UNUSABLE` if links cannot be made or removed.
 */
export async function keepRoots(
  folder: StateFolder,
  paths: ReadonlySet<StorePath>,
  { register, passedOver }: KeepRootsOptions,
): Promise<boolean> {
  const wanted = new Map([...paths].map((path) => [baseNameOf(path), path]));
  const links: string[] = [];
  try {
    // It may have been removed meanwhile.
    await makeFolder(folder.roots);
    for (const [name, path] of wanted) {
      const link = join(folder.roots, name);
      if (await makeLink(link, path, passedOver)) links.push(link);
    }
    for (const { name, file } of await entriesOf(folder.roots)) {
      if (!wanted.has(name)) await discard(file, passedOver);
    }
  } catch (error) {
    throw stateUnusable(folder.dir, error);
  }
  let isComplete = links.length === wanted.size;
  for (const link of links) isComplete = (await register(link)) && isComplete;
  return isComplete;
}

/** False if something is in the way that cannot be removed. */
async function makeLink(link: string, path: StorePath, passedOver: PassedOver): Promise<boolean> {
  const found = await readlink(link).catch(() => undefined);
  if (found === path) return true;
  await discard(link, passedOver);
  if (passedOver.has(link)) return false;
  await symlink(path, link);
  return true;
}
