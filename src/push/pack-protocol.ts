import type { Compression } from "../cache/contract.ts";
import type { ErrorCode } from "../error.ts";
import type { Listing } from "../nix/nar-listing.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { CutPart } from "./part-writer.ts";

/** The path that one worker thread is asked to pack. One job at a time. */
export interface PackJob {
  readonly type: "job";
  /** Where the files are. */
  readonly physicalPath: string;
  /** Expected size of the NAR in bytes, as the store recorded it; decides how it is packed. */
  readonly narSize: number;
  readonly compression: Compression;
  readonly level: number | undefined;
  /** Threads for compression. */
  readonly threads: number;
  /** Size of every part but the last, in bytes. */
  readonly partSize: number;
  /** True if every part needs its MD5. @default {false} */
  readonly md5?: boolean;
  /** True if the listing of the NAR is needed. @default {false} */
  readonly listing?: boolean;
  /** The record of the store; other files fail before their last part is handed on. */
  readonly recorded?: Recorded;
}

/** Hash and size that the store recorded. A size of 0 was not recorded. */
export type Recorded = Pick<PathInfo, "path" | "narHash" | "narSize">;

/** Memory for one part, granted on request: the worker holds no more than it was granted. */
export interface PackGrant {
  readonly type: "grant";
  readonly memory: ArrayBuffer;
}

export type ToWorker = PackJob | PackGrant;

/** Sizes and hashes found while packing; hashes in hex. */
export interface PackResult {
  readonly narHash: string;
  readonly narSize: number;
  readonly fileHash: string;
  readonly fileSize: number;
  /** Of this NAR, for it was made while that was read; undefined if it was not asked for. */
  readonly listing: Listing | undefined;
}

export type FromWorker =
  | { readonly type: "need"; readonly sizeBytes: number }
  | ({ readonly type: "part" } & CutPart)
  /** A program runs for the job, or ended: it must not outlive the thread. */
  | { readonly type: "program"; readonly pid: number | undefined }
  | { readonly type: "done"; readonly result: PackResult }
  | {
      readonly type: "failed";
      readonly code: ErrorCode | undefined;
      readonly message: string;
      readonly hint: string | undefined;
    };
