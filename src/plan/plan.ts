import type { StorePath } from "../nix/store-path.ts";

export type Action = "push" | "present" | "upstream" | "held" | "excluded";

/** Stable codes for why a path gets its action; each is explained in `docs/configuration.md`. */
export type ReasonCode =
  | "missing" // push: no reader of the cache can get it yet
  | "missing-hole-allowed" // push: a reference is missing, `on-hole = "push-anyway"`
  | "in-cache" // present: in the cache or in an upstream the cache itself counts
  | "in-upstream" // upstream: in an upstream declared in the configuration
  | "exclude-rule" // excluded: a glob of `[rules] exclude`
  | "exclude-pick" // excluded: a glob of every pick that needs it
  | "max-nar-size" // excluded: larger than `[rules] max-nar-size`
  | "reference-excluded" // held: it needs a path that is excluded
  | "reference-held" // held: it needs a path that is held
  | "reference-outside" // held: `closure = "self"` and a reference is not available to readers
  | "upstream-unreachable" // held: not built here, and an upstream that may have it did not answer
  | "reference-failed"; // held: a reference could not be pushed in this run

/** What happens to one path in one cache, and why. */
export interface Decision {
  readonly path: StorePath;
  readonly cache: string;
  readonly action: Action;
  readonly reason: { readonly code: ReasonCode; readonly text: string };
  readonly narSize: number;
  /** Names of the picks whose closure contains it, sorted. */
  readonly picks: readonly string[];
}

/** Number of paths and sum of their NAR sizes. */
export interface Total {
  readonly paths: number;
  readonly narSize: number;
}

/** All decisions, sorted by cache, then references before referrers. */
export interface Plan {
  readonly version: 1;
  readonly paths: readonly Decision[];
  readonly totals: Readonly<Record<Action, Total>>;
}
