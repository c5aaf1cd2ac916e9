import type { Stats } from "node:fs";
import { isAbsolute } from "node:path";

import { type ErrorCode, HandpickError } from "../error.ts";
import { isAbsent, readBounded, readFailure } from "../files/read-bounded.ts";
import { readInProject } from "./found-file.ts";

const MAX_SECRET_BYTES = 64 * 1024;
const READABLE_BY_OTHERS = 0o004;

/** A file with a secret in it, and what an error about it needs. */
export interface SecretFile {
  readonly path: string;
  /** The content in words, such as `the token of cache "mine"`. */
  readonly content: string;
  /** The user who reads it; undefined where the platform has none. */
  readonly uid: number | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** The found `handpick.toml` that names it, which may name no other files than those of its folder. */
  readonly foundFile: string | undefined;
  /** Collects what is worth telling. */
  readonly warnings: string[];
}

/**
 * Reads a file of at most 64 KiB; undefined if there is no such file.
 *
 * @throws {HandpickError} `CONFIG_UNREADABLE` if the file is there and cannot be read;
 *   `CONFIG_UNTRUSTED` if a found configuration may not name it.
 */
export async function readSecretFile(file: SecretFile): Promise<string | undefined> {
  const { path, warnings, foundFile } = file;
  try {
    if (foundFile !== undefined) {
      return await readInProject({ ...file, foundFile, maxBytes: MAX_SECRET_BYTES });
    }
    const inspect = (status: Stats): void => {
      if (!status.isFile() || (status.mode & READABLE_BY_OTHERS) === 0) return;
      warnings.push(`file ${path} holds a secret and every user of this machine may read it`);
    };
    return await readBounded(path, MAX_SECRET_BYTES, { inspect });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    if (error instanceof HandpickError) throw error;
    throw secretFileError("CONFIG_UNREADABLE", file, { found: readFailure(error), cause: error });
  }
}

/** The error for a secret that cannot be had from its file. */
export function secretFileError(
  code: ErrorCode,
  { path, content, uid, env }: SecretFile,
  { found, cause }: { readonly found: string; readonly cause?: unknown },
): HandpickError {
  // A unit is given secrets by systemd, which reads the files as root.
  const isUnit = isAbsolute(env["CREDENTIALS_DIRECTORY"] ?? "");
  const reader = uid === 0 || isUnit ? "root" : "the user who runs handpick";
  const then = isUnit ? "; systemd reads it when the unit is started" : "";
  return new HandpickError(code, `Cannot read ${content} from file ${path}: ${found}`, {
    cause,
    hint: `Write it to that file, which ${reader} has to own and others must not read (chmod 600)${then}.`,
  });
}
