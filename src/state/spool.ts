import { lstat, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import type { StateFolder } from "./state-folder.ts";
import { stateUnusable } from "./state-folder.ts";

/** What Nix's post-build-hook told of one build. Nothing of it is checked. */
export interface BuildEvent {
  readonly file: string;
  readonly derivation: string;
  /** None where Nix did not tell. */
  readonly outputs: readonly string[];
}

/** What begins with a dot is not there yet. */
const WANTED = /^wanted-/;
const BUILT = /^built-/;
const MOST_BYTES = 1 << 20;

/** Whether somebody left something. */
export async function hasNews({ spool }: StateFolder): Promise<boolean> {
  return (await readdir(spool)).some((name) => WANTED.test(name) || BUILT.test(name));
}

/**
 * Removes the marks of changed links. They say no more than that, and what a link says is read after
 * this, so that a mark left meanwhile is there for the next look.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function takeMarks(folder: StateFolder): Promise<void> {
  const names = (await readdir(folder.spool)).filter((name) => WANTED.test(name));
  await removeAll(
    folder,
    names.map((name) => join(folder.spool, name)),
  );
}

/** The builds that were told of. */
export async function readBuilds({ spool }: StateFolder): Promise<BuildEvent[]> {
  return readBuildsIn(spool);
}

/** The builds that hooks told of in a folder; what is no small file is one of nothing. */
export async function readBuildsIn(folder: string): Promise<BuildEvent[]> {
  const names = (await readdir(folder)).filter((name) => BUILT.test(name));
  return Promise.all(
    names.map(async (name) => {
      const file = join(folder, name);
      const [derivation = "", ...outputs] = (await readSmall(file)).split("\n");
      return { file, derivation, outputs: outputs.filter((line) => line !== "") };
    }),
  );
}

/**
 * Removes builds that were recorded elsewhere.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function removeBuilds(
  folder: StateFolder,
  builds: readonly BuildEvent[],
): Promise<void> {
  await removeAll(
    folder,
    builds.map(({ file }) => file),
  );
}

async function readSmall(file: string): Promise<string> {
  const status = await lstat(file);
  return status.isFile() && status.size <= MOST_BYTES ? readFile(file, "utf8") : "";
}

async function removeAll({ dir }: StateFolder, files: readonly string[]): Promise<void> {
  try {
    for (const file of files) await rm(file, { force: true, recursive: true });
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}
