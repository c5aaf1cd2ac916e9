import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { compileGlob } from "../nix/glob.ts";
import { type PickRef, type Reason, refOf } from "./plan.ts";

/** One pick and every path it stands for. */
export interface PlanPick {
  readonly name: string;
  /** The selection it is of; absent for a path on the command line. */
  readonly selection?: string;
  readonly members: ReadonlySet<StorePath>;
  /** Names of the caches it is for; undefined for all. */
  readonly caches: readonly string[] | undefined;
  /** Globs of paths that this pick can do without. */
  readonly exclude: readonly string[];
}

/** The `[rules]` of the configuration. */
export interface PlanRules {
  readonly exclude: readonly string[];
  /** Bytes. */
  readonly maxNarSize: number | undefined;
  /** `fail` holds as `hold` does; the caller then refuses a plan that holds anything. */
  readonly onHole: "hold" | "fail" | "push-anyway";
}

/** Why some picks want a path in one cache, or do not. */
export interface Need {
  /** The picks it belongs to, sorted by name and selection. */
  readonly picks: readonly PickRef[];
  /** Set if every one of them excludes it by a glob of its own. */
  readonly excluded: Reason | undefined;
}

/** Finds the paths that the picks for the cache named `cacheName` need. */
export function needsOf(
  cacheName: string,
  closed: readonly PlanPick[],
): ReadonlyMap<StorePath, Need> {
  const needs = new Map<StorePath, { picks: PickRef[]; excluded: Reason | undefined }>();
  const concerned = closed
    .filter(({ caches }) => caches === undefined || caches.includes(cacheName))
    .toSorted((a, b) => compare(a.name, b.name) || compare(a.selection ?? "", b.selection ?? ""));
  for (const one of concerned) {
    const { members, exclude } = one;
    const excludes = firstMatch(exclude);
    const pick = refOf(one);
    for (const path of members) {
      const glob = excludes(path);
      const excluded: Reason | undefined =
        glob === undefined ? undefined : { code: "exclude-pick", rule: glob, pick };
      const need = needs.get(path) ?? { picks: [], excluded };
      if (!isSame(need.picks.at(-1), pick)) need.picks.push(pick);
      if (excluded === undefined) need.excluded = undefined;
      needs.set(path, need);
    }
  }
  return needs;
}

function isSame(one: PickRef | undefined, { name, selection }: PickRef): boolean {
  return one?.name === name && one.selection === selection;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Tells which rule of the configuration excludes a path from every cache, if one does. */
export function exclusionCheck(rules: PlanRules): (info: PathInfo) => Reason | undefined {
  const excludes = firstMatch(rules.exclude);
  const limit = rules.maxNarSize ?? Infinity;
  const known = new Map<StorePath, Reason | undefined>();
  const check = ({ path, narSize }: PathInfo): Reason | undefined => {
    const rule = excludes(path);
    if (rule !== undefined) return { code: "exclude-rule", rule };
    if (narSize <= limit) return undefined;
    return { code: "max-nar-size", rule: "max-nar-size", narSize, limit };
  };
  return (info) => {
    if (!known.has(info.path)) known.set(info.path, check(info));
    return known.get(info.path);
  };
}

function firstMatch(patterns: readonly string[]): (path: StorePath) => string | undefined {
  const globs = patterns.map((pattern) => ({ pattern, matches: compileGlob(pattern) }));
  return (path) => globs.find(({ matches }) => matches(path))?.pattern;
}
