import { createHash } from "node:crypto";

import { openFile } from "../../files/open-file.ts";
import { type Sha256, sha256FromDigest } from "../../nix/hash.ts";

const CHUNK_BYTES = 1 << 20;

/**
 * Computes the hash of a regular file, and follows no link.
 *
 * @throws {UnfitFileError} If it is something else.
 * @throws The error of the file system, or the reason `signal` was aborted with.
 */
export async function hashFile(path: string, signal: AbortSignal): Promise<Sha256> {
  await using file = await openFile(path, { noFollow: true, regularOnly: true });
  const hash = createHash("sha256");
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.handle.read(chunk, 0, chunk.length);
    if (bytesRead === 0) return sha256FromDigest(hash.digest());
    hash.update(chunk.subarray(0, bytesRead));
  }
}
