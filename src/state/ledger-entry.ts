import type { Failure } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";

/**
 * The state of a path in a cache:
 *
 *     waiting -> pushed      (in the cache, by us or by others; back to waiting if it is evicted)
 *        |  \--> failing     (tried again, later and later)
 *        \-----> held, excluded, upstream   (by a rule, or because readers have it: nothing to do)
 */
export type EntryState = "waiting" | "failing" | "pushed" | "held" | "excluded" | "upstream";

/** A path in a cache. Times are milliseconds since 1970. */
export interface Entry {
  readonly cache: string;
  readonly path: StorePath;
  readonly state: EntryState;
  readonly waitingSince: number;
  readonly failingSince: number | undefined;
  readonly tries: number;
  readonly nextTry: number | undefined;
  readonly trouble: Failure | undefined;
  readonly pushedAt: number | undefined;
  readonly seenAt: number | undefined;
}

/** A cache as a whole: when it answered, or since when and why it does not. */
export interface CacheEntry {
  readonly name: string;
  readonly failingSince: number | undefined;
  /** When it is asked again. */
  readonly nextAt: number;
  readonly trouble: Failure | undefined;
  readonly checkedAt: number | undefined;
}
