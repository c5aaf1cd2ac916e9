import type { CacheConfig, Rules } from "../config/config.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { exclusionCheck } from "../plan/needs.ts";
import type { StateFolder } from "../state/state-folder.ts";
import type { Store } from "../store/store.ts";
import { askCaches, type AskCachesOptions, upstreamsOf } from "./ask-caches.ts";
import { readBuildTimes } from "./build-times.ts";
import { isBuiltHere, type SignedBy, signedByAny } from "./built-here.ts";
import { type Differing, differingPicks } from "./differing.ts";
import {
  isQuick,
  type Package,
  type PackageOptions,
  packagesOf,
  withoutReplaced,
} from "./packages.ts";
import { rank, type Suggestion } from "./rank.ts";
import { type Infos, reachable } from "./reachable.ts";
import { recentBuilds } from "./recent-builds.ts";
import { readRoots, type Root } from "./roots.ts";
import { readWantedPaths } from "./wanted-paths.ts";

export interface SuggestOptions extends AskCachesOptions {
  readonly store: Store;
  readonly folder: StateFolder;
  /** The caches to ask. */
  readonly caches: readonly CacheConfig[];
  readonly rules: Rules;
  /** True to look at builds of a few seconds too. */
  readonly isAll: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** What is worth picking on this machine. */
export interface Suggestions {
  /** The best first. */
  readonly suggestions: readonly Suggestion[];
  readonly differing: readonly Differing[];
  /** Number of builds that were left out since they took a few seconds. */
  readonly quick: number;
  /** Why caches gave no answer. */
  readonly failures: readonly unknown[];
  readonly warnings: readonly string[];
}

/**
 * Finds packages that were built here, that profiles, links or recent builds have, and that neither a pick nor a cache
 * has. Sends nothing but questions for hashes.
 *
 * @throws {HandpickError} If store or state folder cannot be read.
 * @throws {AggregateError} If there are caches, and every one of them fails.
 */
export async function suggest(options: SuggestOptions): Promise<Suggestions> {
  const { store, folder, caches, now, signal, isAll } = options;
  const roots = await readRoots(store, { ...options, stateFolder: folder.dir });
  const wanted = await readWantedPaths(folder, store);
  const targets = roots.map(({ target }) => target);
  const kept = await store.closure(targets);
  const isFromUpstream = signedByAny(upstreamsOf(caches));
  const recent = await recentBuilds(store, { known: kept, isFromUpstream, now });
  const infos = new Map(kept);
  for (const [path, info] of await store.closure("paths" in recent ? recent.paths : [])) {
    infos.set(path, info);
  }
  const own = [...infos.values()].filter((info) => !isFromUpstream(info));
  const derivations = new Set(own.flatMap(({ deriver }) => deriver ?? []));
  const times = await readBuildTimes(derivations, store, signal);
  const built = builtPackages(own, { isFromUpstream, times, kept });
  const isOpen = openCheck({ roots, wanted: wanted.paths, rules: options.rules, infos });
  const open = withoutReplaced(built, pathsOf(roots.filter(isCurrent), infos)).filter(isOpen);
  const chosen = isAll ? open : open.filter((one) => !isQuick(one));
  const asked = reachable(
    chosen.flatMap(({ paths }) => paths),
    infos,
    (info) => !isFromUpstream(info),
  );
  const answer = await askCaches(asked, caches, options);
  const { lacking, failures, warnings } = answer;
  const unknown = "fault" in recent ? [`recent builds are left out: ${recent.fault}`] : [];
  return {
    suggestions: rank(chosen, { infos, lacking, times, roots }),
    differing: differingPicks(wanted.picks, pathsOf(roots.filter(isInstalled), infos)),
    quick: open.length - chosen.length,
    failures,
    warnings: [...wanted.troubles, ...unknown, ...warnings],
  };
}

function isCurrent({ generation }: Root): boolean {
  return generation === undefined;
}

function isInstalled(root: Root): boolean {
  return root.kind === "profile" && isCurrent(root);
}

function pathsOf(roots: readonly Root[], infos: Infos): Set<StorePath> {
  const targets = roots.map(({ target }) => target);
  return reachable(targets, infos);
}

interface BuiltOptions extends PackageOptions {
  readonly isFromUpstream: SignedBy;
}

function builtPackages(infos: readonly PathInfo[], options: BuiltOptions): Package[] {
  const { isFromUpstream, times } = options;
  const built = infos.filter((info) => {
    const hasLog = info.deriver !== undefined && times.has(info.deriver);
    return isBuiltHere(info, { isFromUpstream, hasLog });
  });
  return packagesOf(built, options);
}

interface OpenOptions {
  readonly roots: readonly Root[];
  readonly wanted: ReadonlySet<StorePath>;
  readonly rules: Rules;
  readonly infos: Infos;
}

/**
 * Makes a check for packages that may be picked: those that no pick has, no rule leaves out, and that are no whole
 * profile.
 */
function openCheck({ roots, wanted, rules, infos }: OpenOptions): (one: Package) => boolean {
  const isExcluded = exclusionCheck(rules);
  const profiles = new Set(roots.flatMap(({ kind, target }) => (kind === "profile" ? target : [])));
  return ({ paths }) =>
    paths.every((path) => {
      const info = infos.get(path);
      return !wanted.has(path) && !profiles.has(path) && !(info && isExcluded(info));
    });
}
