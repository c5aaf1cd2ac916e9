import type { FileHandle } from "node:fs/promises";

/** Writes all of `bytes` from a place on: the system may take less at a time. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const rest = bytes.length - done;
    done += (await file.write(bytes, done, rest, offset + done)).bytesWritten;
  }
}
