import type { Sha256 } from "../nix/hash.ts";
import type { HashPart, StorePath } from "../nix/store-path.ts";

/** Compression of a NAR file, spelled as narinfo's `Compression:` spells it. */
export type Compression = "zstd" | "xz" | "none";

/** Facts that a cache tells of itself, asked once before anything else. */
export interface CacheInfo {
  /** Where readers find it, without trailing slash. */
  readonly readUrl: string;
  /** Trusted keys in Nix's form, `name:base64`. */
  readonly publicKeys: readonly string[];
  readonly isPublic: boolean;
  /** True if our credentials may write. */
  readonly writable: boolean;
  /** The method the cache wants; undefined if it takes whatever comes. */
  readonly preferredCompression: Compression | undefined;
}

/** Everything of a narinfo that the cache cannot know itself. */
export interface NarInfoFields {
  readonly storePath: StorePath;
  readonly narHash: Sha256;
  readonly narSize: number;
  readonly references: readonly StorePath[];
  readonly deriver: StorePath | undefined;
  readonly contentAddress: string | undefined;
  /** SHA-256 of the compressed file. */
  readonly fileHash: Sha256;
  /** Size of the compressed file in bytes. */
  readonly fileSize: number;
  /** `name:base64`, at most one; undefined where the cache signs itself. */
  readonly signature: string | undefined;
}

/** One slice of the compressed NAR. All but the last have the size asked for in `beginUpload`. */
export interface UploadPart {
  /** From 1. */
  readonly number: number;
  /** Valid until `putPart` settles; its memory is used again afterwards. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** MD5 of the bytes, base64. */
  readonly md5: string;
}

/**
 * One NAR on its way into a cache.
 *
 *     begin --> putPart* --> publish --> visible once its references are
 *        \         |           /
 *         `----> abort <------'        on every failure and on Ctrl-C
 */
export interface Upload {
  /** Sends one part; parts of one upload may be sent at once and in any order. */
  putPart(part: UploadPart, signal: AbortSignal): Promise<void>;
  /**
   * Makes the NAR and its narinfo durable. Never uploads again what may have arrived. A request that
   * was sent when `signal` is aborted still gets a moment for its answer, and may so succeed.
   */
  publish(fields: NarInfoFields, signal: AbortSignal): Promise<void>;
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

/** A binary cache we push to. Every backend runs the same conformance suite. */
export interface Cache extends AsyncDisposable {
  /** The name users gave it in the configuration. */
  readonly name: string;
  /**
   * Says what keeps readers from seeing a path before its references: "cache" where the service is
   * known to hide a narinfo until its closure is complete, "client" where we must publish in
   * reference order. Final once `info` has answered.
   */
  readonly closureRule: "cache" | "client";
  /** The compressions it takes. */
  readonly compressions: ReadonlySet<Compression>;

  /**
   * @throws {HandpickError} `CACHE_NOT_FOUND`, `CACHE_REFUSED`, `NETWORK`, `CACHE_UNAVAILABLE` or
   *   `CACHE_PROTOCOL`.
   */
  info(signal: AbortSignal): Promise<CacheInfo>;

  /** The subset of `hashParts` that neither the cache nor its own upstreams have. */
  missing(hashParts: Iterable<HashPart>, signal: AbortSignal): Promise<Set<HashPart>>;

  /** Starts the upload of one NAR. */
  beginUpload(
    request: { readonly storePath: StorePath; readonly compression: Compression },
    signal: AbortSignal,
  ): Promise<Upload>;

  /** Pins a path that was published; absent where the cache has no pins. */
  pin?(request: PinRequest, signal: AbortSignal): Promise<void>;

  /** Pin names and the store path that each holds now; absent where they cannot be listed. */
  pins?(signal: AbortSignal): Promise<ReadonlyMap<string, string | undefined>>;

  /** Registers a public key (`name:base64`) with the cache; absent where caches have no keys. */
  registerKey?(publicKey: string, signal: AbortSignal): Promise<void>;
}
