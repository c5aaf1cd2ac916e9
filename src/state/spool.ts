import { lstat, rename } from "node:fs/promises";
import { join } from "node:path";

import { makeFolder } from "../files/make-folder.ts";
import { UnfitFileError } from "../files/open-file.ts";
import { readBounded } from "../files/read-bounded.ts";
import { systemCode } from "../files/system-code.ts";
import { attempt, discard, entriesOf, type FoundEntry } from "./discard.ts";
import { PassedOver } from "./passed-over.ts";
import type { StateFolder } from "./state-folder.ts";
import { stateUnusable } from "./state-folder.ts";
import { ownersOf } from "./state-trust.ts";

/** The word of Nix's post-build-hook about one build. Nothing of it is checked. */
export interface BuildEvent {
  readonly file: string;
  readonly derivation: string;
  /** None where Nix did not tell. */
  readonly outputs: readonly string[];
}

/** Proper names are ASCII, so that they are the same as bytes and as text. */
const WANTED = /^(?:wanted-[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}|starting)$/;
const BUILT = /^built-[A-Za-z0-9._-]{1,128}$/;
const MOST_BYTES = 1 << 20;
/** Files that are open at once. */
const SLICE = 64;
const UNREADABLE: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "ENOENT", "ELOOP"]);

/**
 * Moves what others left in the spool into the queue, and removes what nobody asked for. It needs
 * neither lock nor configuration, so the spool, which starts a sync as long as it is not empty, is
 * empty whatever becomes of that sync; and the queue is kept until it is dealt with.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function emptySpool(
  { dir, spool, queue }: StateFolder,
  passedOver: PassedOver = new PassedOver(),
): Promise<void> {
  try {
    const entries = await entriesOf(spool);
    if (entries.length === 0) return;
    await makeFolder(queue);
    const owners = await ownersOf(dir);
    for (const entry of entries) {
      await attempt(entry.file, passedOver, async () => {
        const status = await lstat(entry.file);
        const isOurs = status.isFile() && owners.has(status.uid) && isNews(entry);
        if (isOurs) await move(entry, queue, passedOver);
        else await discard(entry.file, passedOver);
      });
    }
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}

/** A folder may be in the way. Another sync that moved the file meanwhile is as good. */
async function move(
  { name, file }: FoundEntry,
  queue: string,
  passedOver: PassedOver,
): Promise<void> {
  const to = join(queue, name);
  if ((await lstat(to).catch(() => undefined))?.isDirectory()) await discard(to, passedOver);
  await rename(file, to);
}

/** Tells if somebody left something that is not dealt with, and can be. */
export async function hasNews(
  { spool, queue }: StateFolder,
  passedOver: PassedOver = new PassedOver(),
): Promise<boolean> {
  const entries = [...(await entriesOf(spool)), ...(await entriesOf(queue))];
  return entries.some((entry) => isNews(entry) && !passedOver.has(entry.file.toString()));
}

/** How many builds were told of and not looked at yet. */
export async function countBuilds({ spool, queue }: StateFolder): Promise<number> {
  const entries = [...(await entriesOf(spool)), ...(await entriesOf(queue))];
  return entries.filter(({ name }) => BUILT.test(name)).length;
}

/**
 * Removes the marks of changed links, and of a sync that a hook started, from the queue. They say no
 * more than that, and what a link says is read after this, so that a mark left meanwhile is there for
 * the next look.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function takeMarks(
  folder: StateFolder,
  passedOver: PassedOver = new PassedOver(),
): Promise<void> {
  const marks = (await entriesOf(folder.queue)).filter(({ name }) => WANTED.test(name));
  await removeAll(
    folder,
    marks.map(({ file }) => file),
    passedOver,
  );
}

/** The builds in the queue, some at a time: there may be any number. */
export function readBuilds({ queue }: StateFolder): AsyncGenerator<BuildEvent[]> {
  return readSlices(queue);
}

/** The builds that hooks told of in a folder; what is no small file is one of nothing. */
export async function readBuildsIn(folder: string): Promise<BuildEvent[]> {
  const builds: BuildEvent[] = [];
  for await (const slice of readSlices(folder)) builds.push(...slice);
  return builds;
}

async function* readSlices(folder: string): AsyncGenerator<BuildEvent[]> {
  const names = (await entriesOf(folder))
    .map(({ name }) => name)
    .filter((name) => BUILT.test(name));
  for (let start = 0; start < names.length; start += SLICE) {
    yield await Promise.all(
      names.slice(start, start + SLICE).map(async (name) => {
        const file = join(folder, name);
        const [derivation = "", ...outputs] = (await readSmall(file)).split("\n");
        return { file, derivation, outputs: outputs.filter((line) => line !== "") };
      }),
    );
  }
}

/**
 * Removes builds that were recorded elsewhere.
 *
 * @throws {HandpickError} `FILE_UNUSABLE`
 */
export async function removeBuilds(
  folder: StateFolder,
  builds: readonly BuildEvent[],
  passedOver: PassedOver = new PassedOver(),
): Promise<void> {
  await removeAll(
    folder,
    builds.map(({ file }) => file),
    passedOver,
  );
}

async function readSmall(file: string): Promise<string> {
  try {
    return await readBounded(file, MOST_BYTES, { noFollow: true, regularOnly: true });
  } catch (error) {
    // One that cannot be read now never can, and must not keep back the others.
    if (error instanceof UnfitFileError || error instanceof TypeError) return "";
    if (UNREADABLE.has(systemCode(error))) return "";
    throw error;
  }
}

async function removeAll(
  { dir }: StateFolder,
  files: readonly (Buffer | string)[],
  passedOver: PassedOver,
): Promise<void> {
  try {
    for (const file of files) await discard(file, passedOver);
  } catch (error) {
    throw stateUnusable(dir, error);
  }
}

function isNews({ name }: FoundEntry): boolean {
  return WANTED.test(name) || BUILT.test(name);
}
