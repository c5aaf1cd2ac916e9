import { HandpickError } from "../../error.ts";
import { type NixCacheInfo, parseNixCacheInfo } from "../../nix/cache-info.ts";
import { quote } from "../../nix/format-error.ts";
import type { NarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, nameOf, type StorePath } from "../../nix/store-path.ts";
import { CACHE_INFO_NAME, narInfoName, parseNarInfoOf } from "../binary-cache.ts";
import type { CacheReader, NarOptions } from "../reader.ts";
import type { ObjectStore } from "./object-store.ts";

const RANGE_BYTES = 4 << 20;
const NAR_NAME = /^(?!.*(?:^|\/)\.{0,2}(?:\/|$))[\w.+/-]{1,1024}$/;

/** Reads a cache in the layout that Nix reads, with the credentials of its store. Nothing is closed with it. */
export class ObjectReader implements CacheReader {
  readonly url: string;
  readonly #objects: ObjectStore;

  /** @param objects Reads ranges. */
  constructor(objects: ObjectStore) {
    this.url = objects.readUrl;
    this.#objects = objects;
  }

  async info(signal: AbortSignal): Promise<NixCacheInfo> {
    const action = `read ${CACHE_INFO_NAME} of ${this.url}`;
    const bytes = await this.#objects.get(CACHE_INFO_NAME, { action, signal });
    return parseNixCacheInfo(bytes?.toString() ?? "");
  }

  async narInfo(path: StorePath, signal: AbortSignal): Promise<NarInfo | undefined> {
    const action = `read the narinfo of ${JSON.stringify(nameOf(path))} in ${this.url}`;
    const bytes = await this.#objects.get(narInfoName(hashPartOf(path)), { action, signal });
    return bytes && parseNarInfoOf(path, bytes.toString(), action);
  }

  async narSize(url: string, signal: AbortSignal): Promise<number | undefined> {
    const action = `look for ${quote(url)} of ${this.url}`;
    return await this.#objects.sizeOf(nameIn(url, action), { action, signal });
  }

  async *nar(url: string, { signal, range }: NarOptions): AsyncIterable<Uint8Array> {
    const action = `read ${quote(url)} of ${this.url}`;
    const name = nameIn(url, action);
    const size = await this.#objects.sizeOf(name, { action, signal });
    const [first, last] = range ?? [0, Infinity];
    const end = Math.min(last + 1, size ?? 0);
    if (size === undefined) throw damaged(action, "it is not there");
    for (let offset = first; offset < end;) {
      const piece = [offset, Math.min(offset + RANGE_BYTES, end) - 1] as const;
      const bytes = await this.#objects.readRange?.(name, piece, { action, signal });
      const wanted = piece[1] + 1 - offset;
      if (bytes?.length !== wanted) throw damaged(action, "it changed while it was read");
      yield bytes;
      offset += wanted;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** @throws {HandpickError} `CACHE_PROTOCOL` if it does not lie in the cache. */
function nameIn(url: string, action: string): string {
  if (NAR_NAME.test(url)) return url;
  throw damaged(action, "it does not lie in the cache");
}

function damaged(action: string, found: string): HandpickError {
  return new HandpickError("CACHE_PROTOCOL", `Cannot ${action}: ${found}`);
}
