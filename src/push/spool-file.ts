import type { FileHandle } from "node:fs/promises";

import { diskRoom } from "../files/disk-room.ts";
import { isInMemory, threadCalls } from "../files/file-calls.ts";
import { systemCode } from "../files/system-code.ts";
import { openUnnamed } from "../files/unnamed-file.ts";
import { type Extent, Extents } from "./extents.ts";

/** Of the free room of a disk. */
const SHARE = 0.25;
const MOST_IN_MEMORY = 32 << 20;

export interface SpoolFileOptions {
  /** The folder that the file is made in. */
  readonly dir: string;
  /** How large it may become, in bytes. */
  readonly limitBytes: number;
}

/**
 * Bytes on disk that nobody else sees and no crash leaves behind: a file of mode 0600 that has no
 * name any more. It is made when something is first written, and stays as large as it once was.
 *
 * Trouble with the disk is a want of room: the place that could not be written, and all behind it, is
 * not used again.
 */
export class SpoolFile implements AsyncDisposable {
  readonly #dir: string;
  readonly #extents: Extents;
  #file: Promise<FileHandle> | undefined;

  constructor({ dir, limitBytes }: SpoolFileOptions) {
    this.#dir = dir;
    this.#extents = new Extents(limitBytes);
  }

  /** How much it can hold, as far as is known. */
  get limitBytes(): number {
    return this.#extents.limitBytes;
  }

  /** Writes to a free place; returns undefined if there is no room. */
  async write(bytes: Uint8Array): Promise<Extent | undefined> {
    let extent: Extent | undefined;
    try {
      const file = await this.#open();
      extent = this.#extents.take(bytes.length);
      if (extent !== undefined) await threadCalls.writeAll(file.fd, bytes, extent.start);
      return extent;
    } catch (error) {
      if (extent !== undefined) this.#extents.give(extent);
      if (systemCode(error) === undefined) throw error;
      this.#extents.lower(extent?.start ?? 0);
      return undefined;
    }
  }

  /**
   * Fills `into` from the start of an extent; returns false if the disk does not give it back.
   *
   * An extent that is given back meanwhile may be written again, so the caller has to look.
   */
  async read({ start }: Extent, into: Uint8Array): Promise<boolean> {
    try {
      const file = await this.#open();
      for (let done = 0; done < into.length;) {
        const { bytesRead } = await file.read(into, done, into.length - done, start + done);
        if (bytesRead === 0) return false;
        done += bytesRead;
      }
      return true;
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return false;
    }
  }

  /** Takes back an extent, each once. */
  free(extent: Extent): void {
    this.#extents.give(extent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = await this.#file?.catch(() => undefined);
    await file?.close();
  }

  #open(): Promise<FileHandle> {
    this.#file ??= this.#make();
    return this.#file;
  }

  async #make(): Promise<FileHandle> {
    this.#extents.lower(await roomIn(this.#dir));
    return await openUnnamed(this.#dir);
  }
}

/** Leaves most of a disk to others, the ledger among them, and of a disk in memory nearly all. */
async function roomIn(dir: string): Promise<number> {
  const most = (await isInMemory(dir)) ? MOST_IN_MEMORY : Infinity;
  const { free } = await diskRoom(dir);
  return Math.min(Math.floor(free * SHARE), most);
}
