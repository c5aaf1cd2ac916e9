import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import type { StateFolder } from "./state-folder.ts";
import { assertOwnState, type Purpose } from "./state-trust.ts";

/** A link that says what is wanted, or what stands in its place. */
export interface WantedLink {
  /** Name of the selection. */
  readonly name: string;
  /** The target of the link; the name of the file if that is no link, which no sync can use. */
  readonly target: string;
  /** False if there is no such store path here, as with all that lead into a chroot store. */
  readonly leadsSomewhere: boolean;
}

/** The end of a store path, wherever its store is. */
const STORE_PATH_END = /^\/.*\/[0-9a-df-np-sv-z]{32}-[^/]+$/;
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

/**
 * The links of a state folder, by name; none if there is no folder. What has an unsuitable name is no
 * selection, nor is a folder. A file that is no link was put there to be one, and is never read.
 *
 * @param purpose The use of the answer: links in the folder of another user may be shown, and no more.
 *   @default {"act"}
 * @throws {HandpickError} `FILE_UNUSABLE` if the folder or a link in it cannot be read, or may be
 *   another user's.
 */
export async function readWanted(
  { dir, wanted }: StateFolder,
  purpose: Purpose = "act",
): Promise<WantedLink[]> {
  await assertOwnState(dir, purpose);
  const names = await readdir(wanted).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return [];
    throw unreadable(wanted, cause);
  });
  const links = names.filter((name) => NAME.test(name)).map((name) => readLink(name, wanted));
  const found = (await Promise.all(links)).filter((link) => link !== undefined);
  return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function readLink(name: string, folder: string): Promise<WantedLink | undefined> {
  const file = join(folder, name);
  const target = await readlink(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "EINVAL") return isFolder(file).then((is) => (is ? undefined : file));
    // It was withdrawn just now. Whatever else is wrong with it, it may be wanted.
    if (cause.code === "ENOENT") return undefined;
    throw unreadable(folder, cause);
  });
  if (target === undefined) return undefined;
  // The link is not followed: it may lead anywhere.
  const leadsSomewhere = STORE_PATH_END.test(target) && target !== file && (await exists(target));
  return { name, target, leadsSomewhere };
}

async function isFolder(file: string): Promise<boolean> {
  return lstat(file).then(
    (status) => status.isDirectory(),
    () => true, // withdrawn just now
  );
}

async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}

function unreadable(folder: string, cause: Error): HandpickError {
  const message = `Cannot read what is wanted in ${quote(folder)}: ${cause.message}`;
  return new HandpickError("FILE_UNUSABLE", message, { cause });
}
