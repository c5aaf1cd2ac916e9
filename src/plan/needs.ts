import { quote } from "../nix/format-error.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { formatSize } from "./format-size.ts";
import { compileGlob } from "../nix/glob.ts";
import type { Decision } from "./plan.ts";

/** One pick and every path it stands for. */
export interface PlanPick {
  readonly name: string;
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
  /** Names of the picks it belongs to, sorted. */
  readonly picks: readonly string[];
  /** Set if every one of them excludes it by a glob of its own. */
  readonly excluded: Decision["reason"] | undefined;
}

/** What the picks for the cache named `cacheName` need. */
export function needsOf(
  cacheName: string,
  closed: readonly PlanPick[],
): ReadonlyMap<StorePath, Need> {
  const needs = new Map<StorePath, { picks: string[]; excluded: Need["excluded"] }>();
  const concerned = closed
    .filter(({ caches }) => caches === undefined || caches.includes(cacheName))
    .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (const { name, members, exclude } of concerned) {
    const excludes = firstMatch(exclude);
    for (const path of members) {
      const glob = excludes(path);
      const excluded = glob === undefined ? undefined : pickReason(glob, name);
      const need = needs.get(path) ?? { picks: [], excluded };
      if (need.picks.at(-1) !== name) need.picks.push(name);
      if (excluded === undefined) need.excluded = undefined;
      needs.set(path, need);
    }
  }
  return needs;
}

function pickReason(pattern: string, name: string): Decision["reason"] {
  return { code: "exclude-pick", text: `excluded by ${quote(pattern)} of pick ${quote(name)}` };
}

/** Tells which rule of the configuration excludes a path from every cache, if one does. */
export function exclusionCheck(
  rules: PlanRules,
): (info: PathInfo) => Decision["reason"] | undefined {
  const excludes = firstMatch(rules.exclude);
  const limit = rules.maxNarSize ?? Infinity;
  const known = new Map<StorePath, Decision["reason"] | undefined>();
  const check = ({ path, narSize }: PathInfo): Decision["reason"] | undefined => {
    const glob = excludes(path);
    if (glob !== undefined)
      return { code: "exclude-rule", text: `excluded by rule ${quote(glob)}` };
    if (narSize <= limit) return undefined;
    const text = `larger than max-nar-size: ${formatSize(narSize)}, the limit is ${formatSize(limit)}`;
    return { code: "max-nar-size", text };
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
