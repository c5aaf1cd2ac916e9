import type { StorePath } from "../nix/store-path.ts";

/** The path by which each path was reached first; undefined for one where the search began. */
export type Reached = ReadonlyMap<StorePath, StorePath | undefined>;

/** Follows references from some paths to all that they need, nearest first. */
export function reach(
  roots: Iterable<StorePath>,
  referencesOf: (path: StorePath) => Iterable<StorePath>,
): Reached {
  const reached = new Map<StorePath, StorePath | undefined>();
  for (const root of roots) reached.set(root, undefined);
  // A map yields what is added while it is read.
  for (const path of reached.keys()) {
    for (const reference of referencesOf(path)) {
      if (!reached.has(reference)) reached.set(reference, path);
    }
  }
  return reached;
}

/** The shortest way of references to a path that was reached, both ends included. */
export function chainTo(path: StorePath, reached: Reached): readonly StorePath[] {
  const chain = [path];
  for (let next = reached.get(path); next !== undefined; next = reached.get(next)) chain.push(next);
  return chain.toReversed();
}
