import { createHash } from "node:crypto";
import { readlink, rm, symlink } from "node:fs/promises";
import { join } from "node:path";

import { HandpickError, writeFailure } from "../error.ts";
import { makeFolder } from "../files/make-folder.ts";
import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";
import { encodeBase32 } from "../nix/base32.ts";
import type { StoreLayout } from "./layout.ts";

const NOT_ALLOWED: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EROFS"]);

/**
 * Does what the daemon does to make a link a root: a second link, named after the first, in the
 * folder in which a collector looks.
 *
 * @returns False if we may not write there.
 * @throws {HandpickError} `STORE_FAILED` if it fails for another reason.
 */
export async function addAutoRoot({ stateDir }: StoreLayout, link: string): Promise<boolean> {
  const folder = join(stateDir, "gcroots/auto");
  const name = encodeBase32(createHash("sha1").update(link).digest());
  try {
    await makeFolder(folder, 0o755);
    await pointTo(link, join(folder, name));
    return true;
  } catch (cause) {
    const code = systemCode(cause);
    if (NOT_ALLOWED.has(code)) return false;
    const message = `Cannot make ${quote(link)} a root in ${quote(folder)}: ${writeFailure(cause)}`;
    throw new HandpickError("STORE_FAILED", message, { cause });
  }
}

/** Makes `file` a link to `target`; another link of that name protects nothing of ours. */
async function pointTo(target: string, file: string): Promise<void> {
  try {
    await symlink(target, file);
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    if ((await readlink(file)) === target) return;
    await rm(file);
    await symlink(target, file);
  }
}
