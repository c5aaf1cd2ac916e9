import type { HandpickError } from "../error.ts";
import type { Sha256 } from "../nix/hash.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { HashPart, StorePath } from "../nix/store-path.ts";
import type { CachePruner } from "./pruner.ts";
import type { CacheReader } from "./reader.ts";

/** Compression of a NAR file, spelled as narinfo's `Compression:` spells it. */
export type Compression = "zstd" | "xz" | "none";

/** The habits of a kind of cache. Final once `info` has answered. */
export interface CacheTraits {
  /** The compressions it takes. */
  readonly compressions: ReadonlySet<Compression>;
  /**
   * Says what keeps readers from seeing a path before its references: "cache" where the service is
   * known to hide a narinfo until its closure is complete, "client" where we must publish in
   * reference order.
   */
  readonly closureRule: "cache" | "client";
  /**
   * Says who signs. "client": a narinfo carries the signatures that it is given, as many as there are,
   * and no others. "either": the service signs, unless it is given one signature, by a key that it knows.
   * "cache": the service signs, and takes none.
   */
  readonly signer: "client" | "either" | "cache";
  readonly parts: PartTraits;
}

/**
 * The way a cache wants its NARs: in numbered parts. One that takes a NAR as a single body gets the parts of
 * it in order, and `publish` is the end of the body.
 */
export interface PartTraits {
  /**
   * True if each part waits until the one before it was taken; else they go at once, in any order. An upload
   * in order may hold its connection until it is published, so it begins when its references are there.
   */
  readonly inOrder: boolean;
  /** The smallest part but the last, in bytes. */
  readonly minBytes: number;
  readonly maxParts: number;
  /** True if every part comes with its MD5. */
  readonly md5: boolean;
  /** How long a part may take, in milliseconds; undefined where time does not matter. */
  readonly lifetimeMs: number | undefined;
}

/** For a cache that takes parts of any size and number, in any order. */
export const ANY_PARTS: PartTraits = {
  inOrder: false,
  minBytes: 1,
  maxParts: Number.MAX_SAFE_INTEGER,
  md5: false,
  lifetimeMs: undefined,
};

/** Facts that a cache tells of itself, asked once before anything is sent. */
export interface CacheInfo {
  /** Where readers find it, without trailing slash. */
  readonly readUrl: string;
  /** The folder of the store whose paths it holds, such as `/nix/store`. */
  readonly storeDir: string;
  /** The rank among the caches of a reader, the lowest first; undefined where it does not say. */
  readonly priority?: number | undefined;
  /** Trusted keys in Nix's form, `name:base64`; undefined where the cache does not say. */
  readonly publicKeys: readonly string[] | undefined;
  /** True if everybody may read; undefined, where the cache does not say, counts as true. */
  readonly isPublic: boolean | undefined;
  /** True if our credentials may write; undefined where only a write tells. */
  readonly writable: boolean | undefined;
  /** The method the cache wants; undefined if it takes whatever comes. */
  readonly preferredCompression: Compression | undefined;
}

/** Facts that only `doctor` asks a cache for, since they cost requests of their own. */
export interface CacheDiagnosis {
  /** Where the credentials come from, for people. */
  readonly credentials: string;
  /** Why we may not write; undefined if we may. */
  readonly refusal: HandpickError | undefined;
  /** Sentences about readers for the user, such as a key that they have to trust; undefined if none. */
  readonly advice: string | undefined;
}

/** A path that is to be uploaded. */
export interface UploadRequest {
  /** Its NAR size is known. */
  readonly info: PathInfo;
  readonly compression: Compression;
  /** `name:base64` each, in the order in which readers get them; see {@link CacheTraits.signer}. */
  readonly signatures: readonly string[];
}

/** A small file that readers find beside a path, such as its listing. */
export interface Companion {
  /** Where it lies below the root of the cache, such as `log/HASH-hello.drv`. */
  readonly name: string;
  readonly contentType: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Hash and size of a compressed NAR, which are known once all of it was made. */
export interface PackedFile {
  readonly fileHash: Sha256;
  /** In bytes. */
  readonly fileSize: number;
}

/** One slice of the compressed NAR. All parts but the last have the same size. */
export interface UploadPart {
  /** From 1. */
  readonly number: number;
  /** Where in the file it begins, in bytes. */
  readonly offset: number;
  /** Valid until `putPart` settles; its memory is used again afterwards. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** MD5 of the bytes, base64; empty unless {@link PartTraits.md5}. */
  readonly md5: string;
  /** The hash of the whole file, known with its last part; undefined for the others. */
  readonly fileHash: Sha256 | undefined;
}

/**
 * One NAR on its way into a cache.
 *
 *     begin --> putPart* --> publish --> visible once its references are
 *        \         |           /
 *         `----> abort <------'        on every failure and on Ctrl-C
 */
export interface Upload {
  /** Sends one part; see {@link PartTraits.inOrder}. */
  putPart(part: UploadPart, signal: AbortSignal): Promise<void>;
  /**
   * Makes the NAR and its narinfo durable, in place of an older narinfo. Never uploads again what may
   * have arrived. A request that was sent when `signal` is aborted still gets a moment for its answer,
   * and may so succeed.
   */
  publish(file: PackedFile, signal: AbortSignal): Promise<void>;
  /**
   * Gives the upload up; best effort, bounded in time, never throws. Does nothing once it is
   * published, or may be.
   */
  abort(): Promise<void>;
}

/** A pin: a name under which the cache keeps a path from its garbage collection. */
export interface PinRequest {
  readonly name: string;
  readonly storePath: StorePath;
  readonly artifacts?: readonly string[];
  readonly keep?: { readonly days: number } | { readonly revisions: number } | "forever";
}

export interface CachePins {
  /** Pins a path that was published. */
  set(request: PinRequest, signal: AbortSignal): Promise<void>;
  /** Pin names and the store path that each holds now. */
  list(signal: AbortSignal): Promise<ReadonlyMap<string, string | undefined>>;
}

/** The small files of a cache. Readers may see one before its path, which does no harm. */
export interface CacheCompanions {
  /** The subset of `names` that readers do not get. */
  missing(names: Iterable<string>, signal: AbortSignal): Promise<Set<string>>;
  /** Takes one in place of any of its name; it is durable once this settles. */
  put(companion: Companion, signal: AbortSignal): Promise<void>;
}

/**
 * How closely a cache looks at the paths that it has, where the layout of the cache lets us look at all. A path
 * whose narinfo or NAR is damaged is missing.
 *
 * - "narinfo": as closely as the question for a path costs nothing more.
 * - "nar": it verifies signatures, and looks at the size of each NAR, which may take a request.
 * - "bytes": it reads NARs too where they are on a disk.
 */
export type Closeness = "narinfo" | "nar" | "bytes";

export interface MissingOptions {
  /** @default {"narinfo"} */
  readonly closeness?: Closeness;
  /** The records of our store, which narinfos are compared with. @default {none} */
  readonly records?: ReadonlyMap<HashPart, PathInfo>;
  /** Paths that readers do not get: an upload replaces all that the cache has of them. @default {none} */
  readonly unread?: Iterable<HashPart>;
}

/** A binary cache we push to. Every backend runs the same conformance suite. */
export interface Cache extends AsyncDisposable {
  /** The name users gave it in the configuration. */
  readonly name: string;
  readonly traits: CacheTraits;

  /**
   * @throws {HandpickError} `CACHE_NOT_FOUND`, `CACHE_REFUSED`, `NETWORK`, `CACHE_UNAVAILABLE` or
   *   `CACHE_PROTOCOL`.
   */
  info(signal: AbortSignal): Promise<CacheInfo>;

  /** The subset of `hashParts` that neither the cache nor its own upstreams have. */
  missing(
    hashParts: Iterable<HashPart>,
    signal: AbortSignal,
    options?: MissingOptions,
  ): Promise<Set<HashPart>>;

  /** Starts the upload of one NAR. */
  beginUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload>;

  /**
   * Absent where `info` and credentials of ours tell everything.
   *
   * @throws {HandpickError} `TOKEN_MISSING`, or as `info`.
   */
  diagnose?(signal: AbortSignal): Promise<CacheDiagnosis>;

  /** A reader, for as long as the cache is open. Absent where readers come to `CacheInfo.readUrl` by HTTP only. */
  openReader?(): CacheReader;

  /** Absent where the cache has no pins. */
  readonly pins?: CachePins;

  /** Absent where the cache has no small files. */
  readonly companions?: CacheCompanions;

  /** Absent where nothing can be removed, or the service does it. */
  readonly pruner?: CachePruner;

  /** Registers a public key (`name:base64`) with the cache; absent where caches have no keys. */
  registerKey?(publicKey: string, signal: AbortSignal): Promise<void>;
}
