import type { CacheDiagnosis, PackedFile, UploadPart } from "../contract.ts";
import type { CacheFile, CacheFiles } from "../pruner.ts";

/** A small object, whole in memory. */
export interface StoredObject {
  /** Where it lies below the root, such as `nix-cache-info`. */
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
}

/** Says what a request is for, and ends it. */
export interface ObjectRequest {
  /** As it follows "Cannot" in a message: `read the narinfo of "hello" from cache "mine"`. */
  readonly action: string;
  readonly signal: AbortSignal;
}

/** A page of a list, in the order of names. */
export interface ListedPage {
  readonly objects: readonly {
    readonly name: string;
    /** In bytes. */
    readonly size: number;
  }[];
  /** True if the list ends with it. */
  readonly isLast: boolean;
}

/** A NAR that goes to a store in several parts. Nobody is told of it before `finish` settles. */
export interface LargeObject {
  /** Takes one part; its memory is free again once this settles. See `PartTraits.inOrder`. */
  put(part: UploadPart, request: ObjectRequest): Promise<void>;
  /** Gives it its name, once all parts were taken; returns that name, below the root. */
  finish(file: PackedFile, request: ObjectRequest): Promise<string>;
  /**
   * Gives it up, also where it has a name that is its own, or took no part; best effort, bounded in time, never
   * throws. Never called once a narinfo that names it was sent.
   */
  abort(): Promise<void>;
}

/** The name that a NAR is to have. */
export interface LargeName {
  /** The name below the root, which the hash of the file gives it. */
  of(file: PackedFile): string;
  /** A name that nothing else has, for a store that has to know it before the hash is known. */
  readonly unique: string;
  readonly contentType: string;
  /** The size of the NAR before compression, in bytes. */
  readonly narSize: number;
  /** True if a file that has the name already cannot be used. */
  readonly replaces: boolean;
}

/** Lists and removes objects; see `CachePruner`. */
export interface ObjectRemoval {
  list(request: ObjectRequest): Promise<CacheFiles>;
  remove(file: CacheFile, request: ObjectRequest): Promise<boolean>;
}

/**
 * A server that keeps bytes under names, as HTTP servers with PUT and S3 do. An object is replaced in one
 * step: readers get the old one or the new one. Errors say what to do; passing ones were retried.
 */
export interface ObjectStore extends AsyncDisposable {
  /** Where readers find it, without trailing slash. */
  readonly readUrl: string;

  /** Reads a small object; undefined where it is absent. */
  get(name: string, request: ObjectRequest): Promise<Buffer | undefined>;

  /** Puts a small object in place of any that has its name. */
  put(object: StoredObject, request: ObjectRequest): Promise<void>;

  /**
   * Puts a small object, unless there is one of its name already that `isEnough`, as far as the store can say so.
   * Absent where it cannot.
   *
   * @returns True if it was put.
   */
  putUnless?(
    object: StoredObject,
    isEnough: (found: Buffer) => Promise<boolean>,
    request: ObjectRequest,
  ): Promise<boolean>;

  /** The size of an object in bytes, NaN where the store does not say it; undefined where it is absent. */
  sizeOf(name: string, request: ObjectRequest): Promise<number | undefined>;

  /**
   * Reads the bytes of an object from `first` to `last`, or to its end if that is nearer; undefined where it is
   * absent. No more than 4 MiB at once. Absent where readers come by HTTP.
   */
  readRange?(
    name: string,
    range: readonly [first: number, last: number],
    request: ObjectRequest,
  ): Promise<Buffer | undefined>;

  /**
   * Lists objects at the root in the order of their names, by pages: those whose names begin with `prefix`. Absent where a store cannot; may be given up at any page, and be refused.
   */
  list?(prefix: string, request: ObjectRequest): AsyncIterable<ListedPage>;

  /** Absent where a store cannot. */
  readonly removal?: ObjectRemoval;

  /** Finds out what only `doctor` asks; absent where there is nothing to ask. */
  diagnose?(signal: AbortSignal): Promise<CacheDiagnosis>;

  /**
   * Starts one that may become large, before it is known to have several parts; may wait until others are through.
   * Nothing is sent before its first part.
   */
  startLarge(name: LargeName, request: ObjectRequest): LargeObject | Promise<LargeObject>;
}
