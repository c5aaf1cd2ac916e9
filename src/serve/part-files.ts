import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";

import { sha256FromDigest } from "../nix/hash.ts";
import type { CompleteRequest } from "./complete-request.ts";
import { refusal } from "./refusal.ts";
import type { PartRecord } from "./upload-table.ts";

const CHUNK_BYTES = 256 * 1024;

/** The base name of a part's file. With the MD5 in it, a file never changes under its name. */
export function partFileName(part: PartRecord): string {
  return `${part.narId}.${part.number}.${part.md5}`;
}

/** The part's ETag as S3 spells it; the quotes belong to it. */
export function eTagOf(part: PartRecord): string {
  return `"${part.md5}"`;
}

/**
 * Writes a part to a new file. It need not survive a power cut: what is not whole then is found by
 * its hash when the upload completes.
 *
 * @returns Its MD5 and size.
 */
export async function writePart(
  file: string,
  body: AsyncIterable<Uint8Array>,
): Promise<{ readonly md5: Buffer; readonly sizeBytes: number }> {
  const meter = new Meter("md5");
  await using handle = await open(file, "wx", 0o600);
  await handle.writeFile(meter.measure(body));
  return { md5: meter.hash.digest(), sizeBytes: meter.sizeBytes };
}

/**
 * Joins parts into a new file that is on disk when this returns.
 *
 * @throws {HTTPException} 400 if the file does not have the claimed hash.
 */
export async function joinParts(
  parts: readonly string[],
  file: string,
  { claim, signal }: { readonly claim: CompleteRequest; readonly signal: AbortSignal },
): Promise<void> {
  const meter = new Meter("sha256");
  await using handle = await open(file, "wx", 0o600);
  await handle.writeFile(meter.measure(readAll(parts)), { signal });
  const fileHash = sha256FromDigest(meter.hash.digest());
  if (fileHash !== claim.fileHash) {
    throw refusal(400, `The file has the hash ${fileHash} where cFileHash says ${claim.fileHash}`);
  }
  await handle.sync();
}

async function* readAll(files: readonly string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const file of files) yield* createReadStream(file, { highWaterMark: CHUNK_BYTES });
}

class Meter {
  readonly hash: Hash;
  sizeBytes = 0;

  constructor(algorithm: "md5" | "sha256") {
    this.hash = createHash(algorithm);
  }

  async *measure(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of source) {
      this.sizeBytes += chunk.length;
      this.hash.update(chunk);
      yield chunk;
    }
  }
}
