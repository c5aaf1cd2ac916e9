import { readFile } from "node:fs/promises";

import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { writeWhole } from "../files/write-whole.ts";

/** How {@link readOrCreateSecret} makes a secret. */
export interface SecretMaker {
  readonly make: () => string;
  /** Where the file is written before it gets its name; on the same file system. */
  readonly tmpDir: string;
}

/**
 * Reads a secret, making and storing it first where there is none. The file is for its owner only,
 * and whole or absent: it gets its name when it is on disk.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if the file is empty.
 */
export async function readOrCreateSecret(
  file: string,
  { make, tmpDir }: SecretMaker,
): Promise<string> {
  const found = await readIfThere(file);
  if (found === "") {
    throw new HandpickError("FILE_UNUSABLE", `Cannot use ${JSON.stringify(file)}: it is empty`, {
      hint: "Remove the file, and a new secret is made at the next start.",
    });
  }
  if (found !== undefined) return found;
  const secret = make();
  await writeWhole(file, `${secret}\n`, { tmpDir, isDurable: true });
  return secret;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
