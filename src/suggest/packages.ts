import { packageNameOf } from "../nix/package-name.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { compareStorePaths, isDerivation, nameOf, type StorePath } from "../nix/store-path.ts";
import type { BuildTimes } from "./build-times.ts";
import type { Infos } from "./reachable.ts";

/** The outputs of one build that are in the store. */
export interface Package {
  /** With its version. */
  readonly name: string;
  readonly paths: readonly StorePath[];
  readonly derivation: StorePath | undefined;
  /** Of its own paths, in bytes. */
  readonly narSize: number;
  /** How long it took by itself; undefined if nobody knows. */
  readonly buildMs: number | undefined;
  /** When the last of its paths became valid, in milliseconds since 1970. */
  readonly builtAt: number;
}

/** Sets that tools make of packages anew at every change. */
const ENVIRONMENTS: ReadonlySet<string> = new Set([
  "home-manager-path",
  "system-path",
  "user-environment",
]);

export interface PackageOptions {
  readonly times: BuildTimes;
  /** The paths that roots keep. */
  readonly kept: Infos;
}

/** Puts outputs of the same derivation together: those that roots keep, or where they keep none all of them. */
export function packagesOf(infos: Iterable<PathInfo>, { times, kept }: PackageOptions): Package[] {
  const outputs = [...infos].filter(({ path }) => !isDerivation(path));
  const groups = Map.groupBy(outputs, ({ path, deriver }) => deriver ?? path);
  const packages = [...groups.values()].map((group) => {
    const used = group.filter(({ path }) => kept.has(path));
    return packageOf(used.length > 0 ? used : group, times);
  });
  return packages.filter(({ name }) => !ENVIRONMENTS.has(name));
}

function packageOf(group: readonly PathInfo[], times: BuildTimes): Package {
  const paths = group.map(({ path }) => path).toSorted(compareStorePaths);
  const names = paths.map(nameOf).toSorted((a, b) => a.length - b.length);
  const derivation = group[0]?.deriver;
  return {
    // Names of other outputs than the first end with that of the output.
    name: names[0] ?? "",
    paths,
    derivation,
    narSize: group.reduce((sum, { narSize }) => sum + narSize, 0),
    buildMs: derivation === undefined ? undefined : times.get(derivation),
    builtAt: Math.max(...group.map(({ registrationTime }) => registrationTime)) * 1000,
  };
}

/**
 * Leaves out builds that a later one of the same name replaced, unless they are `current`. A later one that is not
 * current yet stays, too.
 */
export function withoutReplaced(
  packages: readonly Package[],
  current: ReadonlySet<StorePath>,
): Package[] {
  const groups = Map.groupBy(packages, ({ name }) => packageNameOf(name));
  return [...groups.values()].flatMap((group) => {
    const newest = group.reduce((a, b) => (b.builtAt > a.builtAt ? b : a));
    return group.filter((one) => one === newest || one.paths.some((path) => current.has(path)));
  });
}

const QUICK_MS = 5_000;
const SMALL_BYTES = 100_000;

/** Returns true if nobody waits for a build: it took a few seconds, or left no log and next to nothing else. */
export function isQuick({ buildMs, narSize }: Package): boolean {
  return buildMs === undefined ? narSize < SMALL_BYTES : buildMs < QUICK_MS;
}
