import { lstat, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";

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
const HIDDEN = /^\./;
const WANTED = /^wanted-|^starting$/;
const BUILT = /^built-/;
const MOST_BYTES = 1 << 20;

/**
 * Moves what others left in the spool into the queue, and removes what nobody asked for. It needs
 * neither lock nor configuration, so the spool, which starts a sync as long as it is not empty, is
 * empty whatever becomes of that sync; and the queue is kept until it is dealt with.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function emptySpool({ dir, spool, queue }: StateFolder): Promise<void> {
  try {
    const names = (await namesIn(spool)).filter((name) => !HIDDEN.test(name));
    if (names.length > 0) await mkdir(queue, { recursive: true, mode: 0o700 });
    for (const name of names) await move(join(spool, name), join(queue, name));
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}

async function move(from: string, to: string): Promise<void> {
  // Another sync that moved it meanwhile is as good.
  const status = await lstat(from).catch(absent);
  if (status === undefined) return;
  if (status.isFile() && isNews(from)) await rename(from, to).catch(absent);
  else await rm(from, { force: true, recursive: true });
}

/** Whether somebody left something that is not dealt with. */
export async function hasNews({ spool, queue }: StateFolder): Promise<boolean> {
  return [...(await namesIn(spool)), ...(await namesIn(queue))].some(isNews);
}

/** How many builds were told of and not looked at yet. */
export async function countBuilds({ spool, queue }: StateFolder): Promise<number> {
  const names = [...(await namesIn(spool)), ...(await namesIn(queue))];
  return names.filter((name) => BUILT.test(name)).length;
}

/**
 * Removes the marks of changed links, and of a sync that a hook started, from the queue. They say no
 * more than that, and what a link says is read after this, so that a mark left meanwhile is there for
 * the next look.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function takeMarks(folder: StateFolder): Promise<void> {
  const names = (await namesIn(folder.queue)).filter((name) => WANTED.test(name));
  await removeAll(
    folder,
    names.map((name) => join(folder.queue, name)),
  );
}

/** The builds in the queue. */
export async function readBuilds({ queue }: StateFolder): Promise<BuildEvent[]> {
  return readBuildsIn(queue);
}

/** The builds that hooks told of in a folder; what is no small file is one of nothing. */
export async function readBuildsIn(folder: string): Promise<BuildEvent[]> {
  const names = (await namesIn(folder)).filter((name) => BUILT.test(name));
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

function isNews(file: string): boolean {
  const name = basename(file);
  return WANTED.test(name) || BUILT.test(name);
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(absent)) ?? [];
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
