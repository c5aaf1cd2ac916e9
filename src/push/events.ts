import type { Failure } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Reason } from "../plan/plan.ts";

/** A small file that cannot go with its path. */
export interface CompanionLack {
  readonly path: StorePath;
  readonly what: "listing" | "build log";
  /** The reason, to be said after "because". */
  readonly why: string;
}

/** Events while paths are pushed, in order of time. Times in ms, sizes in bytes. */
export type PushEvent =
  | {
      readonly event: "start";
      readonly cache: string;
      readonly path: StorePath;
      readonly narSize: number;
    }
  | {
      readonly event: "sent";
      readonly cache: string;
      readonly path: StorePath;
      /** Compressed bytes of the path that were sent so far. */
      readonly sentBytes: number;
      /** NAR bytes that those stand for. */
      readonly narBytes: number;
    }
  | {
      readonly event: "pushed";
      readonly cache: string;
      readonly path: StorePath;
      readonly narSize: number;
      readonly fileSize: number;
      readonly compression: string;
      readonly durationMs: number;
    }
  | {
      readonly event: "held";
      readonly cache: string;
      readonly path: StorePath;
      readonly reason: Reason;
    }
  | {
      readonly event: "failed";
      readonly cache: string;
      readonly path: StorePath;
      readonly error: Failure;
    };
