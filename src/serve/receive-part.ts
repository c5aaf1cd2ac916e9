import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

import { GatheredBytes } from "../gathered-bytes.ts";
import type { TakeChunk } from "./request-body.ts";
import { writeAll } from "./write-all.ts";

/** Parts of up to this size stay in memory until they are whole. */
const SMALL_BYTES = 256 * 1024;
const WRITE_BYTES = 256 * 1024;
/** Each takes some 400 bytes besides, and a hostile client may send single ones. */
const MOST_CHUNKS = 64;

/** A part that arrived. */
export interface ReceivedPart {
  readonly md5: Buffer;
  readonly sizeBytes: number;
  /** All of a small one, which has no file yet. */
  readonly bytes: Buffer | undefined;
}

/**
 * Receives a part, a small one into memory and any other into a new file. That need not survive a
 * power cut: what is not whole then is found by its hash when the upload completes.
 */
export async function receivePart(
  file: string,
  read: (take: TakeChunk) => Promise<void>,
): Promise<ReceivedPart> {
  await using receiver = new PartReceiver(file);
  await read((chunk) => receiver.take(chunk));
  return await receiver.end();
}

class PartReceiver implements AsyncDisposable {
  readonly #file: string;
  readonly #md5 = createHash("md5");
  #sizeBytes = 0;
  /** Undefined once there is a file. */
  #small: GatheredBytes | undefined = new GatheredBytes();
  /** For the file. */
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #handle: FileHandle | undefined;
  #writing: Promise<void> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Takes bytes in while those before are written; what is to be waited for is older. */
  take(chunk: Buffer): Promise<void> | undefined {
    this.#md5.update(chunk);
    this.#sizeBytes += chunk.length;
    if (this.#small === undefined) return this.#add(chunk);
    this.#small.add(chunk);
    if (this.#sizeBytes <= SMALL_BYTES) return undefined;
    const bytes = this.#small.bytes();
    this.#small = undefined;
    return this.#add(bytes);
  }

  async end(): Promise<ReceivedPart> {
    const bytes = this.#small?.bytes();
    if (bytes === undefined) {
      this.#flush();
      await this.#writing;
    }
    return { md5: this.#md5.digest(), sizeBytes: this.#sizeBytes, bytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing?.catch(() => undefined);
    await this.#handle?.close();
  }

  #add(chunk: Buffer): Promise<void> | undefined {
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    if (this.#chunkBytes < WRITE_BYTES && this.#chunks.length < MOST_CHUNKS) return undefined;
    const before = this.#writing;
    this.#flush();
    return before;
  }

  #flush(): void {
    this.#writing = this.#write(this.#chunks, this.#writing);
    this.#chunks = [];
    this.#chunkBytes = 0;
    // The failure is for those who wait for the next.
    this.#writing.catch(() => undefined);
  }

  async #write(chunks: Buffer[], before: Promise<void> | undefined): Promise<void> {
    await before;
    this.#handle ??= await open(this.#file, "wx", 0o600);
    await writeAll(this.#handle, chunks);
  }
}
