import type { NixCacheInfo } from "../nix/cache-info.ts";
import type { NarInfo } from "../nix/narinfo.ts";
import type { StorePath } from "../nix/store-path.ts";

/** A binary cache as Nix reads it: `nix-cache-info`, narinfos and NARs. */
export interface CacheReader extends AsyncDisposable {
  /** Without trailing slash. */
  readonly url: string;
  /** True once the server has answered 401 to a request without credentials. @default {false} */
  readonly wantsPassword?: boolean;

  /**
   * @throws {FormatError} If it is none.
   * @throws {HandpickError} Of the network, or of the cache.
   */
  info(signal: AbortSignal): Promise<NixCacheInfo>;

  /**
   * The narinfo of a path, undefined where the cache lacks it.
   *
   * @throws {FormatError} If something else is in its place.
   * @throws {HandpickError} Of the network, or of the cache.
   */
  narInfo(path: StorePath, signal: AbortSignal): Promise<NarInfo | undefined>;

  /**
   * The size of the file that a narinfo names, in bytes, NaN where the cache does not say it; undefined where the
   * file is not there.
   *
   * @param url As in the narinfo.
   * @throws {HandpickError} `CACHE_PROTOCOL` if it may not be there; of the network, or of the cache.
   */
  narSize(url: string, signal: AbortSignal): Promise<number | undefined>;

  /**
   * The file that a narinfo names, as it arrives.
   *
   * @param url As in the narinfo.
   * @throws {HandpickError} `CACHE_PROTOCOL` if it is not, or may not be, there.
   */
  nar(url: string, options: NarOptions): AsyncIterable<Uint8Array>;
}

export interface NarOptions {
  readonly signal: AbortSignal;
  /** The bytes to read, both ends included. @default {all} */
  readonly range?: readonly [first: number, last: number];
}
