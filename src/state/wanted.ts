import { access, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import type { StateFolder } from "./state-folder.ts";

/** A link that says what is wanted. */
export interface WantedLink {
  /** Name of the selection. */
  readonly name: string;
  /** What the link holds. */
  readonly target: string;
  /** False if it dangles, as all do that lead into a chroot store. */
  readonly leadsSomewhere: boolean;
}

const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;

/**
 * The links of a state folder, by name; none if there is no folder. What has an unsuitable name or is
 * no link is no selection.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if the folder or a link in it cannot be read.
 */
export async function readWanted({ wanted }: StateFolder): Promise<WantedLink[]> {
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
    // It is none, or was withdrawn just now. Whatever else is wrong with it, it may be wanted.
    if (cause.code === "EINVAL" || cause.code === "ENOENT") return undefined;
    throw unreadable(folder, cause);
  });
  if (target === undefined) return undefined;
  const leadsSomewhere = await access(file).then(
    () => true,
    () => false,
  );
  return { name, target, leadsSomewhere };
}

function unreadable(folder: string, cause: Error): HandpickError {
  const message = `Cannot read what is wanted in ${quote(folder)}: ${cause.message}`;
  return new HandpickError("FILE_UNUSABLE", message, { cause });
}
