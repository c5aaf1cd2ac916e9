import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { systemCode } from "./system-code.ts";

/**
 * Makes a folder, for its owner alone unless `mode` says otherwise, and what is missing above it. Node's own `recursive` goes on for
 * ever in a folder that says of all that is new that it does not exist, such as those of `/proc`.
 *
 * @throws The error of the file system, `EEXIST` if something else has the name.
 */
export async function makeFolder(folder: string, mode = 0o700): Promise<void> {
  try {
    await make(folder, mode);
  } catch (error) {
    if (systemCode(error) !== "ENOENT" || dirname(folder) === folder) throw error;
    await makeFolder(dirname(folder), mode);
    await make(folder, mode);
  }
}

async function make(folder: string, mode: number): Promise<void> {
  try {
    await mkdir(folder, { mode });
  } catch (error) {
    if (systemCode(error) !== "EEXIST" || !(await stat(folder)).isDirectory()) throw error;
  }
}
