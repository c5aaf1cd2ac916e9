import { randomUUID } from "node:crypto";
import { lstat, readdir, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";
import type { PassedOver } from "./passed-over.ts";

/** Failures of one entry alone: a mount point, one that may not be changed, a folder in its place. */
const STUCK: ReadonlySet<unknown> = new Set(["EBUSY", "EPERM", "EISDIR", "ENOTEMPTY", "EXDEV"]);

/** An entry of a folder; its name may be no text. */
export interface FoundEntry {
  /** Its name, a character for each byte. */
  readonly name: string;
  readonly file: Buffer;
}

/** Lists a folder but for hidden names; nothing if there is no such folder. */
export async function entriesOf(folder: string): Promise<FoundEntry[]> {
  const names = (await readdir(folder, { encoding: "buffer" }).catch(absent)) ?? [];
  return names
    .map((name) => ({
      name: name.toString("latin1"),
      file: Buffer.concat([Buffer.from(`${folder}/`), name]),
    }))
    .filter(({ name }) => !name.startsWith("."));
}

/**
 * Removes what does not belong into a part of the state folder. A folder may hold anything, so it is
 * kept, beside the parts, where it starts no sync.
 *
 * @throws The error of the file system, but for those of this entry alone, which is passed over.
 */
export async function discard(file: Buffer | string, passedOver: PassedOver): Promise<void> {
  await attempt(file, passedOver, async () => {
    if (!(await lstat(file)).isDirectory()) return unlink(file);
    const text = file.toString();
    const aside = await setAside(file);
    passedOver.tell(
      `found a folder that is none of handpick's, ${quote(text)}; it is kept as ${aside}`,
    );
  });
}

/** One that we may not write in, root's, can be renamed where it is. A hidden name starts no sync either. */
async function setAside(folder: Buffer | string): Promise<string> {
  const name = `.folder-${randomUUID()}`;
  const part = dirname(folder.toString());
  const aside = join(dirname(part), name);
  try {
    await rename(folder, aside);
    return aside;
  } catch (error) {
    if (systemCode(error) !== "EACCES") throw error;
    await rename(folder, join(part, name));
    return join(part, name);
  }
}

/** Runs `task` on an entry; one that is gone, or stuck, keeps back no other. */
export async function attempt(
  file: Buffer | string,
  passedOver: PassedOver,
  task: () => Promise<void>,
): Promise<void> {
  try {
    await task();
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT") return;
    if (!STUCK.has(code)) throw error;
    const text = file.toString();
    passedOver.add(text, `passed over ${quote(text)}: it cannot be moved (${String(code)})`);
  }
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
