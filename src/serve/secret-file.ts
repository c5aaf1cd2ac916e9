import { randomUUID } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";

import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";

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
  const temporary = join(tmpDir, randomUUID());
  await using handle = await open(temporary, "wx", 0o600);
  await handle.writeFile(`${secret}\n`);
  await handle.sync();
  await rename(temporary, file);
  await syncDirectory(dirname(file));
  return secret;
}

/** Makes new names in a folder survive a power cut. */
export async function syncDirectory(dir: string): Promise<void> {
  await using handle = await open(dir, "r");
  await handle.sync();
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
