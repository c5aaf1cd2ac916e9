import type { FileHandle } from "node:fs/promises";

/** Writes chunks at the end of a file, as a rule by one call, which `writeFile()` splits. */
export async function writeAll(handle: FileHandle, chunks: Buffer[]): Promise<void> {
  const { bytesWritten } = await handle.writev(chunks);
  const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  if (bytesWritten === sizeBytes) return;
  // A disk that has no more room takes a piece, and says so when it gets the rest.
  await handle.writeFile(Buffer.concat(chunks).subarray(bytesWritten));
}
