import type { PathInfo } from "../nix/path-info.ts";
import { nameOf, type StorePath } from "../nix/store-path.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { chainTo, reach } from "./chain.ts";
import type { PlanPick } from "./needs.ts";
import { type Decision, type PickRef, type Plan, refOf } from "./plan.ts";

/** A pick that needs a path, and how. */
export interface Way {
  readonly pick: PickRef;
  /**
   * The shortest way of references from the pick to the path, both included; the path alone where it belongs to
   * the pick for another reason, as what it was built from does.
   */
  readonly chain: readonly StorePath[];
}

/** The fate of one path, and all that wants it. */
export interface Explanation {
  readonly path: StorePath;
  /** A decision for each cache, in their order. */
  readonly decisions: readonly Decision[];
  /** Shortest first. */
  readonly ways: readonly Way[];
}

/** A pick with the paths that it names. */
export interface ExplainedPick extends PlanPick {
  readonly paths: readonly StorePath[];
}

export interface ExplainInput {
  readonly plan: Plan;
  readonly picks: readonly ExplainedPick[];
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
}

/**
 * Finds the paths of a plan that a word means, a store path or a name: that of a path (`hello-2.12`), of its package
 * (`hello`) or of a pick. A pick's own paths come first.
 */
export function pathsNamed(word: string, { plan, picks }: ExplainInput): StorePath[] {
  const planned = new Set(plan.paths.map(({ path }) => path));
  const ofPicks = picks.filter(({ name }) => name === word).flatMap(({ paths }) => paths);
  const isMeant = (path: StorePath): boolean =>
    path === word || nameOf(path) === word || packageNameOf(nameOf(path)) === word;
  return [...new Set([...ofPicks, ...[...planned].filter(isMeant)])].filter((path) =>
    planned.has(path),
  );
}

/** Says what happens to paths of a plan, and which picks need them. Takes one search for each pick. */
export function explain(paths: Iterable<StorePath>, input: ExplainInput): Explanation[] {
  const { plan, picks, infos } = input;
  const wanted = new Set(paths);
  const ways = new Map<StorePath, Way[]>();
  for (const one of picks) {
    const { paths: roots, members } = one;
    const reached = reach(roots, (path) => infos.get(path)?.references ?? []);
    const pick = refOf(one);
    for (const path of wanted.intersection(members)) {
      const chain = reached.has(path) ? chainTo(path, reached) : [path];
      ways.set(path, [...(ways.get(path) ?? []), { pick, chain }]);
    }
  }
  const decisions = Map.groupBy(
    plan.paths.filter(({ path }) => wanted.has(path)),
    ({ path }) => path,
  );
  return [...wanted].map((path) => ({
    path,
    decisions: decisions.get(path) ?? [],
    ways: (ways.get(path) ?? []).toSorted((a, b) => a.chain.length - b.chain.length),
  }));
}
