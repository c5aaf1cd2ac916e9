import { hash } from "node:crypto";
import { closeSync, fsync, openSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { promisify } from "node:util";

import { assertFileHash, type FileClaim } from "./assembly.ts";
import { checkZstdNar, type FileCompression } from "./check-nar.ts";
import type { PartRecord } from "./upload-table.ts";

const MOST_FILE_BYTES = 256 * 1024;
const MOST_NAR_BYTES = 1024 * 1024;

const sync = promisify(fsync);

/** Returns true if {@link makeSmallNar} takes no longer than a request should keep others waiting. */
export function isSmallNar(
  compression: FileCompression,
  parts: readonly PartRecord[],
  { narSize }: Pick<FileClaim, "narSize">,
): boolean {
  const [part] = parts;
  const isOne = parts.length === 1 && part !== undefined;
  return (
    compression === "zst" && isOne && part.sizeBytes <= MOST_FILE_BYTES && narSize <= MOST_NAR_BYTES
  );
}

/**
 * Makes the file of a small NAR of its only part, and proves it, at once: what a few KiB need is done
 * sooner than a thread is asked to do it. It is on disk when this settles.
 *
 * @throws {HTTPException} 400 if anything is not as claimed.
 * @throws {FormatError} If the NAR is not well-formed.
 */
export async function makeSmallNar(part: string, file: string, claim: FileClaim): Promise<void> {
  const bytes = readFileSync(part);
  assertFileHash(hash("sha256", bytes, "buffer"), claim);
  checkZstdNar(bytes, claim);
  const descriptor = openSync(file, "wx", 0o600);
  try {
    writeFileSync(descriptor, bytes);
    await sync(descriptor);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
}
