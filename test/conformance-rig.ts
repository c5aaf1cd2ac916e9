import type { Cache } from "../src/cache/contract.ts";
import type { Clock } from "../src/clock.ts";
import type { NarInfo } from "../src/nix/narinfo.ts";
import { type HashPart, hashPartOf, type StorePath } from "../src/nix/store-path.ts";
import { type SampleOptions, type SampleUpload, sampleUpload } from "./sample-upload.ts";

/** A cache of the backend under test, empty, with credentials that may write. */
export interface ConformanceRig extends AsyncDisposable {
  readonly cache: Cache;
  /** Whether readers of the cache get the narinfo of this path now. */
  isServed(hashPart: HashPart): Promise<boolean>;
  /** The narinfo that readers get of a path that is served. */
  readonly narInfo?: (path: StorePath) => Promise<NarInfo | undefined>;
  /** The small file that readers get under a name; absent where the kind has none. */
  readonly companion?: (name: string) => Promise<Uint8Array | undefined>;
  /** True if readers get another file than the one that was uploaded. @default {false} */
  readonly recompresses?: boolean;
  /** The folder with the files of the cache, if it has one in Nix's layout. */
  readonly dir?: string;
  /** True if the cache refuses a NAR that is not what its record says. @default {false} */
  readonly checksNars?: boolean;
  /** Makes the credentials worthless, and opens the cache with new ones. */
  readonly revoke?: () => Promise<Cache>;
}

export interface SetupOptions {
  /** Of the client. @default {that of the machine} */
  readonly clock?: Clock | undefined;
  /** An empty folder for all that the server keeps. @default {one of its own} */
  readonly disk?: string | undefined;
}

export interface ConformanceOptions {
  /** The backend, for the titles. */
  readonly name: string;
  readonly setup: (options?: SetupOptions) => Promise<ConformanceRig>;
  /** Says what may happen to the disk that `setup` is given. @default {it takes none} */
  readonly disk?: DiskTraits;
  /** Why the backend cannot be tried here. */
  readonly skip?: string | false | undefined;
}

export interface DiskTraits {
  /** True if the server holds files open on it, so that nobody can make it read-only. */
  readonly isHeld: boolean;
}

export type Setup = ConformanceOptions["setup"];

export const signal: AbortSignal = new AbortController().signal;

/** A path in a form that the cache takes. */
export function sampleFor({ traits }: Cache, options: SampleOptions): SampleUpload {
  const compression = traits.compressions.has("zstd") ? "zstd" : "none";
  return sampleUpload({ compression, ...options });
}

export function hashOf({ storePath }: SampleUpload): HashPart {
  return hashPartOf(storePath);
}

export async function isMissing(cache: Cache, sample: SampleUpload): Promise<boolean> {
  return (await cache.missing([hashOf(sample)], signal)).has(hashOf(sample));
}
