import type { StorePath } from "../nix/store-path.ts";
import type { BuildTimes } from "./build-times.ts";
import type { Package } from "./packages.ts";
import { PathGraph } from "./path-graph.ts";
import type { Infos } from "./reachable.ts";
import type { Root } from "./roots.ts";

/** A profile or a link that needs a package. */
export interface Wanter {
  readonly kind: Root["kind"];
  readonly name: string;
  /** The newest generation of a profile that needs it; absent if the current one does. */
  readonly generation?: number;
}

/** A package worth picking. */
export interface Suggestion extends Package {
  /** All that would be pushed with it: it and what it needs that nobody serves. */
  readonly pushPaths: number;
  readonly pushBytes: number;
  /** How long that took to build, as far as it is known; undefined if nothing of it is. */
  readonly savedMs: number | undefined;
  readonly wantedBy: readonly Wanter[];
}

export interface RankOptions {
  readonly infos: Infos;
  /** The paths that nobody serves. */
  readonly lacking: ReadonlySet<StorePath>;
  readonly times: BuildTimes;
  readonly roots: readonly Root[];
}

/**
 * Ranks the packages that nobody serves by the time that a download saves for each byte of a push. Those whose time is
 * not known come last, the newest first.
 */
export function rank(packages: readonly Package[], options: RankOptions): Suggestion[] {
  const { lacking } = options;
  const unserved = packages.filter(({ paths }) => paths.some((path) => lacking.has(path)));
  const costs = new Costs(options);
  const wanters = new Wanters(options);
  return unserved
    .map((one) => ({ ...one, ...costs.of(one.paths), wantedBy: wanters.of(one.paths) }))
    .toSorted(compare);
}

function compare(a: Suggestion, b: Suggestion): number {
  return worthOf(b) - worthOf(a) || b.builtAt - a.builtAt || (a.name < b.name ? -1 : 1);
}

function worthOf({ savedMs = -1, pushBytes }: Suggestion): number {
  return savedMs / Math.max(pushBytes, 1);
}

/** A path that would be pushed. */
interface Load {
  readonly narSize: number;
  readonly build: Build | undefined;
}

/** A derivation, which counts once for all of its outputs. */
interface Build {
  readonly buildMs: number | undefined;
  /** The last sum that it was counted in. */
  lastSum: number;
}

/** Adds up all that would be pushed with paths. */
class Costs {
  readonly #graph: PathGraph;
  readonly #loads: readonly Load[];
  #sums = 0;

  constructor({ infos, lacking, times }: RankOptions) {
    const records = [...lacking].flatMap((path) => infos.get(path) ?? []);
    const paths = records.map(({ path }) => path);
    this.#graph = new PathGraph(paths, (path) => infos.get(path)?.references ?? []);
    const builds = new Map(
      records.flatMap(({ deriver }) =>
        deriver === undefined ? [] : [[deriver, { buildMs: times.get(deriver), lastSum: 0 }]],
      ),
    );
    this.#loads = records.map(({ narSize, deriver }) => ({
      narSize,
      build: deriver === undefined ? undefined : builds.get(deriver),
    }));
  }

  of(paths: readonly StorePath[]): Pick<Suggestion, "pushPaths" | "pushBytes" | "savedMs"> {
    const sum = ++this.#sums;
    const pushed = this.#graph.walk(paths);
    let pushBytes = 0;
    let savedMs: number | undefined;
    for (const number of pushed) {
      const { narSize = 0, build } = this.#loads[number] ?? {};
      pushBytes += narSize;
      if (build?.buildMs === undefined || build.lastSum === sum) continue;
      build.lastSum = sum;
      savedMs = (savedMs ?? 0) + build.buildMs;
    }
    return { pushPaths: pushed.length, pushBytes, savedMs };
  }
}

/** Finds the roots that need paths, by going from those to what refers to them. */
class Wanters {
  readonly #graph: PathGraph;
  /** By the numbers of their targets. */
  readonly #roots: readonly (readonly Root[] | undefined)[];

  constructor({ roots, infos }: RankOptions) {
    const byTarget = Map.groupBy(roots, ({ target }) => target);
    const referrers = new Map<StorePath, StorePath[]>();
    for (const { path, references } of infos.values()) {
      for (const reference of references) {
        const known = referrers.get(reference);
        if (known === undefined) referrers.set(reference, [path]);
        else known.push(path);
      }
    }
    const paths = [...infos.keys()];
    this.#graph = new PathGraph(paths, (path) => referrers.get(path) ?? []);
    this.#roots = paths.map((path) => byTarget.get(path));
  }

  of(paths: readonly StorePath[]): Wanter[] {
    const roots = this.#graph.walk(paths).flatMap((number) => this.#roots[number] ?? []);
    const byName = Map.groupBy(roots, ({ kind, name }) => `${kind} ${name}`);
    const wanters = [...byName.values()].map(newestOf);
    return wanters.toSorted(compareWanters);
  }
}

function newestOf(roots: readonly Root[]): Wanter {
  const { kind, name, generation } = roots.reduce((a, b) => (numberOf(b) > numberOf(a) ? b : a));
  return { kind, name, ...(generation === undefined ? {} : { generation }) };
}

function numberOf({ generation = Infinity }: Root): number {
  return generation;
}

/** What is current goes before old generations, and profiles before links. */
function compareWanters(a: Wanter, b: Wanter): number {
  const isOld = (one: Wanter): number => (one.generation === undefined ? 0 : 1);
  const isLink = ({ kind }: Wanter): number => (kind === "link" ? 1 : 0);
  return isOld(a) - isOld(b) || isLink(a) - isLink(b) || (a.name < b.name ? -1 : 1);
}
