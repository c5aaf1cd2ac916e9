import type { Failure } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Reason } from "../plan/plan.ts";
import type { PushEvent } from "../push/events.ts";

/** Events of a run: one `plan` a cache first, what happens to paths, one `summary` last. */
export type RunEvent =
  | PushEvent
  | {
      readonly event: "plan";
      readonly cache: string;
      readonly selected: number;
      readonly push: number;
      readonly pushBytes: number;
      readonly present: number;
      readonly upstream: number;
      readonly held: number;
      readonly excluded: number;
    }
  | {
      readonly event: "excluded";
      readonly cache: string;
      readonly path: StorePath;
      readonly reason: Reason;
    }
  | {
      readonly event: "pinned";
      readonly cache: string;
      readonly name: string;
      readonly path: StorePath;
    }
  | {
      readonly event: "pin-failed";
      readonly cache: string;
      readonly name: string;
      readonly path: StorePath;
      readonly error: Failure;
    }
  | { readonly event: "rejected"; readonly input: string; readonly error: Failure }
  | {
      readonly event: "note";
      readonly text: string;
      /** Set where the text tells of something that is wrong: it is printed even if little else is. */
      readonly level?: "error";
    }
  | { readonly event: "error"; readonly error: Failure }
  | Summary;

/** Makes a note about one cache. */
export function noteOf(cache: string, text: string): RunEvent {
  return { event: "note", text: `${cache}: ${text}` };
}

/** The end of a run; the last event of `push --json`. */
export interface Summary {
  readonly event: "summary";
  readonly pushed: number;
  readonly present: number;
  readonly upstream: number;
  readonly held: number;
  readonly excluded: number;
  readonly failed: number;
  /** Paths that an interruption left to another run. */
  readonly unfinished: number;
  /** Compressed bytes of the paths that were pushed. */
  readonly uploadedBytes: number;
  readonly durationMs: number;
}
