import { lstat, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

import { HandpickError } from "../../error.ts";
import { openFile } from "../../files/open-file.ts";
import { systemCode } from "../../files/system-code.ts";
import type { NixCacheInfo } from "../../nix/cache-info.ts";
import { FormatError, quote } from "../../nix/format-error.ts";
import type { NarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, nameOf, type StorePath } from "../../nix/store-path.ts";
import { orAborted } from "../../or-aborted.ts";
import { LONGEST_NARINFO, narInfoName, parseNarInfoOf } from "../binary-cache.ts";
import type { CacheReader, NarOptions } from "../reader.ts";
import { CacheFolder, readText } from "./cache-folder.ts";
import { fileError } from "./file-error.ts";

const CHUNK_BYTES = 1 << 20;
const REGULAR = { noFollow: true, regularOnly: true } as const;

/**
 * Opens a cache that is a folder for reading. Whatever is in the folder, nothing outside of it is read, and
 * nothing waits for a pipe or fills the memory.
 *
 * @param dir Absolute. A link to a folder is followed, one in it is not.
 */
export function createFileReader({ dir }: { readonly dir: string }): CacheReader {
  return new FolderReader(dir);
}

class FolderReader implements CacheReader {
  readonly url: string;
  readonly #folder: CacheFolder;

  constructor(dir: string) {
    this.#folder = new CacheFolder(dir);
    this.url = this.#folder.url;
  }

  async info(signal: AbortSignal): Promise<NixCacheInfo> {
    const action = `read nix-cache-info of ${this.url}`;
    return await this.#explained(action, signal, async () => {
      const info = await this.#folder.info();
      if (info.storeDir === undefined) await stat(this.#folder.dir);
      return info;
    });
  }

  async narInfo(path: StorePath, signal: AbortSignal): Promise<NarInfo | undefined> {
    const action = `read the narinfo of ${JSON.stringify(nameOf(path))} in ${this.url}`;
    return await this.#explained(action, signal, async () => {
      const file = join(this.#folder.dir, narInfoName(hashPartOf(path)));
      const text = await readText(file, { maxBytes: LONGEST_NARINFO, format: "narinfo" });
      if (text !== undefined) return parseNarInfoOf(path, text, action);
      // A folder that is gone lacks nothing: it does not answer.
      await stat(this.#folder.dir);
      return undefined;
    });
  }

  async narSize(url: string, signal: AbortSignal): Promise<number | undefined> {
    const action = `look for ${quote(url)} of ${this.url}`;
    return await this.#explained(action, signal, async () => {
      try {
        const status = await lstat(await this.#inside(url, action));
        return status.isFile() ? status.size : undefined;
      } catch (error) {
        if (systemCode(error) !== "ENOENT" && systemCode(error) !== "ENOTDIR") throw error;
        await stat(this.#folder.dir);
        return undefined;
      }
    });
  }

  async *nar(url: string, { signal, range }: NarOptions): AsyncIterable<Uint8Array> {
    const action = `read ${quote(url)} of ${this.url}`;
    const read = <T>(task: () => Promise<T>): Promise<T> => this.#explained(action, signal, task);
    const path = await read(() => this.#inside(url, action));
    await using file = await read(() => openFile(path, REGULAR));
    const { size } = file.status;
    const [first, last] = range ?? [0, size - 1];
    if (first > 0 && first >= size) throw damaged(action, `it has ${size} bytes`);
    const end = Math.min(last + 1, size);
    for (let offset = first; offset < end;) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, end - offset));
      const { bytesRead } = await read(() => file.handle.read(chunk, 0, chunk.length, offset));
      if (bytesRead === 0) throw damaged(action, `it became shorter than ${end} bytes`);
      yield chunk.subarray(0, bytesRead);
      offset += bytesRead;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /**
   * Where the file is that a narinfo names.
   *
   * @throws {HandpickError} `CACHE_PROTOCOL` if it is not, or may not be, in the folder.
   */
  async #inside(url: string, action: string): Promise<string> {
    const names = url.split("/");
    const isPlain = names.every((name) => name !== "" && name !== "." && name !== "..");
    if (!isPlain || url.includes("\0")) throw damaged(action, "it does not lie in the cache");
    const path = join(this.#folder.dir, ...names);
    for (let folder = dirname(path); folder.length > this.#folder.dir.length;) {
      if ((await lstat(folder)).isSymbolicLink()) throw damaged(action, "a folder of it is a link");
      folder = dirname(folder);
    }
    return path;
  }

  async #explained<T>(action: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    try {
      return await orAborted(task(), signal);
    } catch (error) {
      if (error instanceof FormatError) throw error;
      throw await fileError(error, { action, dir: this.#folder.dir, isReading: true });
    }
  }
}

function damaged(action: string, found: string): HandpickError {
  return new HandpickError("CACHE_PROTOCOL", `Cannot ${action}: ${found}`);
}
