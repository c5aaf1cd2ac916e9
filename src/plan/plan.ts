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

/** A pick by its name and that of its selection, which a path on the command line has none of. */
export interface PickRef {
  readonly name: string;
  readonly selection?: string;
}

/** The pick by its names alone. */
export function refOf({ name, selection }: PickRef): PickRef {
  return { name, ...(selection === undefined ? {} : { selection }) };
}

/** A path that readers would lack. */
export interface Lack {
  readonly path: StorePath;
  /**
   * `excluded`: by `rule`; `unanswered`: held until an upstream answers; `cycle`: part of a cycle of
   * references; `outside`: neither selected nor in the cache; `failed`, `later`: not pushed in this run;
   * `hides`: the path itself is stored, and readers see it once this one is pushed.
   */
  readonly state: "excluded" | "unanswered" | "cycle" | "outside" | "failed" | "later" | "hides";
  /** The reason of its own, where it is excluded. */
  readonly reason?: Reason;
}

/** Why a path gets its action, as data; the words are made in `report/`. */
export interface Reason {
  readonly code: ReasonCode;
  /** The glob, or the name of the setting, that decided. */
  readonly rule?: string;
  /** The pick whose rule it is; absent for a rule of the configuration. */
  readonly pick?: PickRef;
  /** Sizes in bytes, for `max-nar-size`. */
  readonly narSize?: number;
  readonly limit?: number;
  /** The path for whose sake this one is held. */
  readonly because?: Lack;
  /** The own reference that leads to `because`; absent if that is the reference. */
  readonly through?: StorePath;
  /** The upstream that has it; absent for one that was remembered. */
  readonly upstream?: string;
}

/** The fate of one path in one cache, and why. */
export interface Decision {
  readonly path: StorePath;
  readonly cache: string;
  readonly action: Action;
  readonly reason: Reason;
  readonly narSize: number;
  /** The picks whose closure contains it, sorted by name and selection. */
  readonly picks: readonly PickRef[];
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
