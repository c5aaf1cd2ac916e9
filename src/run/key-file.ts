import { dirname } from "node:path";

import { makeFolder } from "../files/make-folder.ts";
import { isAbsent, readBounded, readFailure } from "../files/read-bounded.ts";
import { HandpickError, writeFailure } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { writeWhole } from "../files/write-whole.ts";
import { faultOf, FormatError } from "../nix/format-error.ts";
import { generateSecretKey, parseSecretKey, printSecretKey } from "../nix/key.ts";
import type { SecretKey } from "../nix/key.ts";

const MAX_KEY_FILE_BYTES = 64 * 1024;

/**
 * Makes a key and writes its secret to a new file that only its owner may read. The file is whole
 * or absent, whenever we are interrupted.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if the file exists or cannot be written.
 */
export async function makeKeyFile(file: string, name: string): Promise<SecretKey> {
  const secret = generateSecretKey(name);
  try {
    await makeFolder(dirname(file));
    const text = `${printSecretKey(secret, "nix")}\n`;
    await writeWhole(file, text, { replaces: false, isDurable: true });
  } catch (error) {
    const reason = systemCode(error) === "EEXIST" ? "the file exists" : writeFailure(error);
    throw new HandpickError("FILE_UNUSABLE", `Cannot write the secret key to ${file}: ${reason}`, {
      cause: error,
      hint: "Give another file with --out, or register the key in it with --register.",
    });
  }
  return secret;
}

/**
 * Reads the secret key in a file; undefined if there is no such file.
 *
 * @param name The name of a key that stands there without one.
 * @throws {HandpickError} `KEY_INVALID` or `FILE_UNUSABLE`.
 */
export async function readKeyFile(file: string, name: string): Promise<SecretKey | undefined> {
  try {
    return parseSecretKey(await readBounded(file, MAX_KEY_FILE_BYTES), name);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    const isMalformed = error instanceof FormatError;
    const reason = isMalformed ? faultOf(error) : readFailure(error);
    throw new HandpickError(
      isMalformed ? "KEY_INVALID" : "FILE_UNUSABLE",
      `Cannot read the secret key in ${file}: ${reason}`,
      { cause: error, hint: "Give another file with --out." },
    );
  }
}
