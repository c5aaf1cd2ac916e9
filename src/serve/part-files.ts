import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { rename, rm, unlink } from "node:fs/promises";
import { join } from "node:path";

import { systemCode } from "../files/system-code.ts";
import type { CompleteRequest } from "./complete-request.ts";
import { refusal } from "./refusal.ts";
import type { PartRecord } from "./upload-table.ts";

/** The folders of the parts that are whole, and of those that are not. */
export interface PartFolders {
  readonly parts: string;
  readonly tmp: string;
}

/** The base name of a part's file. With the MD5 in it, a file never changes under its name. */
export function partFileName(part: PartRecord): string {
  return `${part.narId}.${part.number}.${part.md5}`;
}

/** The part's ETag as S3 spells it; the quotes belong to it. */
export function eTagOf(part: PartRecord): string {
  return `"${part.md5}"`;
}

/**
 * Gives a part its name.
 *
 * @param source Its bytes, or the file that has them, which is gone then.
 * @param isNew False if the database may have the name already, which stands for a file that is whole.
 */
export async function keepPart(
  { parts, tmp }: PartFolders,
  part: PartRecord,
  { source, isNew }: { readonly source: Buffer | string; readonly isNew: boolean },
): Promise<void> {
  const file = join(parts, partFileName(part));
  if (typeof source === "string") {
    await rename(source, file);
  } else if (isNew) {
    await writeSmall(file, source);
  } else {
    const temporary = join(tmp, randomUUID());
    await writeSmall(temporary, source);
    await rename(temporary, file);
  }
}

/** Removes the files of parts; those that are gone already do not matter. */
export async function removeParts(
  { parts: dir }: PartFolders,
  parts: Iterable<PartRecord>,
): Promise<void> {
  await Promise.all([...parts].map((part) => removeFile(join(dir, partFileName(part)))));
}

/**
 * The stored parts that a client lists, in its order.
 *
 * @throws {HTTPException} 400 if one of them is not here, or all together have another size.
 */
export function matchParts(
  stored: ReadonlyMap<number, PartRecord>,
  { parts, fileSize }: Pick<CompleteRequest, "parts" | "fileSize">,
): PartRecord[] {
  const matched = parts.map(({ partNumber, eTag }) => {
    const part = stored.get(partNumber);
    if (part === undefined) throw refusal(400, `Part ${partNumber} was not sent`);
    if (eTag !== eTagOf(part)) throw refusal(400, `Part ${partNumber} has another ETag`);
    return part;
  });
  const sizeBytes = matched.reduce((sum, part) => sum + part.sizeBytes, 0);
  if (sizeBytes !== fileSize) {
    throw refusal(400, `The parts have ${sizeBytes} bytes where cFileSize says ${fileSize}`);
  }
  return matched;
}

/** Writes at once: a few KiB are in the memory of the system sooner than a thread is asked to write. */
async function writeSmall(file: string, bytes: Buffer): Promise<void> {
  try {
    writeFileSync(file, bytes, { mode: 0o600 });
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
}

/** Does with one call of the system what `rm()` does with two. */
async function removeFile(file: string): Promise<void> {
  try {
    await unlink(file);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
