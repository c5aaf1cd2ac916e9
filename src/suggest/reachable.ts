import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { reach } from "../plan/chain.ts";

/** Records of paths, by path. */
export type Infos = ReadonlyMap<StorePath, PathInfo>;

/** Follows references from `paths` to all that has a record and that `isFollowed` lets pass. */
export function reachable(
  paths: Iterable<StorePath>,
  infos: Infos,
  isFollowed: (info: PathInfo) => boolean = () => true,
): Set<StorePath> {
  const known = (all: Iterable<StorePath>): StorePath[] =>
    [...all].filter((path) => {
      const info = infos.get(path);
      return info !== undefined && isFollowed(info);
    });
  const reached = reach(known(paths), (path) => known(infos.get(path)?.references ?? []));
  return new Set(reached.keys());
}
