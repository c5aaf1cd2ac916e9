import type { PathInfo } from "../nix/path-info.ts";
import { compareStorePaths, type StorePath } from "../nix/store-path.ts";

const UNKNOWN = -1;
const BEGUN = -2;

/**
 * Sorts paths so that references come before referrers: by the length of the longest chain of
 * references below them, then by path. In a cycle, which a sound store does not have, one reference
 * is passed over.
 */
export function referenceOrder(
  paths: Iterable<StorePath>,
  infos: ReadonlyMap<StorePath, PathInfo>,
): StorePath[] {
  const sorted = [...new Set(paths)].toSorted(compareStorePaths);
  // Numbers from here on: comparing and hashing the same long strings again took most of the time.
  const places = new Map(sorted.map((path, place) => [path, place]));
  const edges = sorted.map((path) => placed(infos.get(path)?.references ?? [], places));
  const levels = levelsOf(edges);
  const byLevel: StorePath[][] = [];
  for (const [place, path] of sorted.entries()) (byLevel[levels[place] ?? 0] ??= []).push(path);
  return byLevel.flat();
}

function placed(
  references: readonly StorePath[],
  places: ReadonlyMap<StorePath, number>,
): number[] {
  const found: number[] = [];
  for (const reference of references) {
    const place = places.get(reference);
    if (place !== undefined) found.push(place);
  }
  return found;
}

/** The length of the longest chain that begins at each node. */
function levelsOf(edges: readonly (readonly number[])[]): Int32Array {
  const levels = new Int32Array(edges.length).fill(UNKNOWN);
  // A stack of our own: chains of references can be longer than the call stack is deep.
  const stack = [...edges.keys()];
  for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
    const targets = edges[node] ?? [];
    if (levels[node] === UNKNOWN) {
      levels[node] = BEGUN;
      targets.filter((t) => levels[t] === UNKNOWN).forEach((t) => stack.push(t));
      continue;
    }
    stack.pop();
    if (levels[node] !== BEGUN) continue;
    levels[node] =
      targets.reduce((most, target) => Math.max(most, levels[target] ?? 0), UNKNOWN) + 1;
  }
  return levels;
}
