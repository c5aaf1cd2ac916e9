import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";

/** Records of paths, by path. */
export type Infos = ReadonlyMap<StorePath, PathInfo>;

/** Follows references from `paths` to all that has a record and that `isFollowed` lets pass. */
export function reachable(
  paths: Iterable<StorePath>,
  infos: Infos,
  isFollowed: (info: PathInfo) => boolean = () => true,
): Set<StorePath> {
  const found = new Set<StorePath>();
  const add = (path: StorePath): void => {
    const info = infos.get(path);
    if (info !== undefined && isFollowed(info)) found.add(path);
  };
  for (const path of paths) add(path);
  // A set visits what is added to it during the loop.
  for (const path of found) infos.get(path)?.references.forEach(add);
  return found;
}
