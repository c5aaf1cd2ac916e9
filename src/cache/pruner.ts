/** A file of a cache, as its list has it. */
export interface CacheFile {
  /** Where it lies below the root of the cache, such as `nar/HASH.nar.zst`. */
  readonly name: string;
  readonly sizeBytes: number;
  /** When it came there, in milliseconds since 1970 by the clock of the cache; NaN where that does not say. */
  readonly modifiedMs: number;
  /** Another one for a file that was written in its place. */
  readonly version: string;
}

export interface CacheFiles {
  /** The time by the clock of the cache, not after the list was begun. */
  readonly nowMs: number;
  readonly files: readonly CacheFile[];
}

/** Lists and removes the files of a cache, in the layout that Nix reads. */
export interface CachePruner {
  /** How many calls may be under way at once. */
  readonly atOnce: number;
  /**
   * Lists the files at the root and below it.
   *
   * @throws {HandpickError} `CACHE_PROTOCOL` if something else has the name of a narinfo.
   */
  list(signal: AbortSignal): Promise<CacheFiles>;
  /** Reads a small file; undefined if it is gone. */
  read(name: string, signal: AbortSignal): Promise<Buffer | undefined>;
  /**
   * Removes a file, unless it was written again since it was listed.
   *
   * @returns False if it was.
   */
  remove(file: CacheFile, signal: AbortSignal): Promise<boolean>;
  /** Writes a small file that was removed, unless there is one of its name. */
  putBack(name: string, bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void>;
  /** Settles once all that was removed stays so, whatever happens. */
  settle(signal: AbortSignal): Promise<void>;
}
