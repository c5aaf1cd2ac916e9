import { isMadeHere, type PathInfo } from "../nix/path-info.ts";
import { type HashPart, hashPartOf, type StorePath } from "../nix/store-path.ts";
import { exclusionCheck, type Need, needsOf, type PlanPick, type PlanRules } from "./needs.ts";
import { referenceOrder } from "./order.ts";
import type { Action, Decision, Lack, Plan, Reason, ReasonCode, Total } from "./plan.ts";

/** The answers of one cache about the hashes of {@link queryPaths}. */
export interface PlanCache {
  readonly name: string;
  readonly missing: ReadonlySet<HashPart>;
  /** Hashes in an upstream that the configuration declares: its URL, or undefined if only remembered. */
  readonly upstream: ReadonlyMap<HashPart, string | undefined>;
  /** Hashes that an upstream may have which did not answer. */
  readonly unknown: ReadonlySet<HashPart>;
}

export interface PlanInput {
  readonly closed: readonly PlanPick[];
  /** Holds at least every member of every pick. */
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
  readonly rules: PlanRules;
  readonly caches: readonly PlanCache[];
}

/** A path that readers will not get. */
interface Hole extends Lack {
  /** True if nobody knows yet: an upstream may have it. */
  readonly isUnknown: boolean;
}

interface Verdict {
  readonly action: Action;
  readonly reason: Reason;
  /** The hole for paths that refer to this one; undefined if readers can get it. */
  readonly hole?: Hole;
}

const PRESENT: Verdict = { action: "present", reason: { code: "in-cache" } };
const PUSH: Verdict = { action: "push", reason: { code: "missing" } };

/** The paths that every cache and upstream has to be asked about before planning. */
export function queryPaths({ closed, infos }: Pick<PlanInput, "closed" | "infos">): Set<StorePath> {
  const paths = new Set<StorePath>();
  for (const path of allMembers(closed)) {
    paths.add(path);
    for (const reference of infoOf(infos, path).references) paths.add(reference);
  }
  return paths;
}

/**
 * Decides for each cache what happens to each path that its picks need, and why. Takes time in
 * proportion to members, references and caches.
 *
 * @throws {RangeError} If a glob is invalid or `infos` lacks a member.
 */
export function makePlan({ closed, infos, rules, caches }: PlanInput): Plan {
  const order = referenceOrder(allMembers(closed), infos);
  const excludedByRule = exclusionCheck(rules);
  const paths = caches
    .toSorted((a, b) => compareText(a.name, b.name))
    .flatMap((cache) => {
      const needs = needsOf(cache.name, closed);
      const verdicts = new Map<StorePath, Verdict>();
      return order
        .filter((path) => needs.has(path))
        .map((path): Decision => {
          const info = infoOf(infos, path);
          const verdict = judge(info, { cache, needs, verdicts, excludedByRule, rules });
          verdicts.set(path, verdict);
          const { action, reason } = verdict;
          const picks = needs.get(path)?.picks ?? [];
          return { path, cache: cache.name, action, reason, narSize: info.narSize, picks };
        });
    });
  return { version: 1, paths, totals: totalsOf(paths) };
}

interface JudgeContext {
  readonly cache: PlanCache;
  readonly needs: ReadonlyMap<StorePath, Need>;
  /** Of every path earlier in reference order. */
  readonly verdicts: ReadonlyMap<StorePath, Verdict>;
  readonly excludedByRule: ReturnType<typeof exclusionCheck>;
  readonly rules: PlanRules;
}

function judge(info: PathInfo, around: JudgeContext): Verdict {
  const { path } = info;
  const hash = hashPartOf(path);
  if (around.cache.upstream.has(hash)) return inUpstream(around.cache.upstream.get(hash));
  if (!around.cache.missing.has(hash)) return PRESENT;
  const excluded = around.excludedByRule(info) ?? around.needs.get(path)?.excluded;
  if (excluded !== undefined) {
    const hole = { path, state: "excluded", reason: excluded, isUnknown: false } as const;
    return { action: "excluded", reason: excluded, hole };
  }
  // A build of our own may be nowhere else. Anything else may be upstream, and is no small matter: libc.
  if (around.cache.unknown.has(hash) && !isMadeHere(info)) return openQuestion(path);
  const needed = firstHole(info, around);
  if (needed === undefined) return PUSH;
  const { code, hole, reference } = needed;
  const { isUnknown: _isUnknown, ...because } = hole;
  const cause = { because, ...(reference === hole.path ? {} : { through: reference }) };
  if (around.rules.onHole === "push-anyway") {
    return { action: "push", reason: { code: "missing-hole-allowed", ...cause } };
  }
  return { action: "held", reason: { code, ...cause }, hole };
}

function inUpstream(upstream: string | undefined): Verdict {
  const reason = { code: "in-upstream", ...(upstream === undefined ? {} : { upstream }) } as const;
  return { action: "upstream", reason };
}

function openQuestion(path: StorePath): Verdict {
  return {
    action: "held",
    reason: { code: "upstream-unreachable" },
    hole: { path, state: "unanswered", isUnknown: true },
  };
}

/** The first reference that readers will not get. */
function firstHole(
  { path, references }: PathInfo,
  { cache, needs, verdicts }: JudgeContext,
): { code: ReasonCode; hole: Hole; reference: StorePath } | undefined {
  for (const reference of references) {
    if (reference === path) continue;
    const verdict = verdicts.get(reference);
    if (verdict !== undefined) {
      const { action, hole } = verdict;
      const lasting = action === "excluded" ? "reference-excluded" : "reference-held";
      const code = hole?.isUnknown === true ? "upstream-unreachable" : lasting;
      if (hole !== undefined) return { code, hole, reference };
    } else if (needs.has(reference)) {
      // Only a cycle leaves a needed reference undecided here, and no order can publish one.
      const hole = { path: reference, state: "cycle", isUnknown: false } as const;
      return { code: "reference-held", hole, reference };
    } else {
      const hash = hashPartOf(reference);
      const available = cache.upstream.has(hash) || !cache.missing.has(hash);
      if (available) continue;
      const isUnknown = cache.unknown.has(hash);
      const hole = { path: reference, state: "outside", isUnknown } as const;
      return { code: isUnknown ? "upstream-unreachable" : "reference-outside", hole, reference };
    }
  }
  return undefined;
}

/** Sums up decisions by what is to happen. */
export function totalsOf(decisions: readonly Decision[]): Record<Action, Total> {
  const totals = {
    push: { paths: 0, narSize: 0 },
    present: { paths: 0, narSize: 0 },
    upstream: { paths: 0, narSize: 0 },
    held: { paths: 0, narSize: 0 },
    excluded: { paths: 0, narSize: 0 },
  };
  for (const { action, narSize } of decisions) {
    totals[action].paths++;
    totals[action].narSize += narSize;
  }
  return totals;
}

function allMembers(closed: readonly PlanPick[]): Set<StorePath> {
  const all = new Set<StorePath>();
  for (const { members } of closed) for (const path of members) all.add(path);
  return all;
}

function infoOf(infos: PlanInput["infos"], path: StorePath): PathInfo {
  const info = infos.get(path);
  if (info === undefined) throw new RangeError(`Cannot plan ${path}: its path info is not given`);
  return info;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
