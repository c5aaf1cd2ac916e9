import type { CacheFile } from "../cache/pruner.ts";
import type { Entries } from "./decide.ts";
import type { Entry } from "./entry.ts";

/** Times before which files have to have come to a cache, in milliseconds since 1970. */
export interface Cutoffs {
  /** For what belongs to an entry that goes. */
  readonly ownMs: number;
  /** For what belongs to none, as the NAR of an upload under way. */
  readonly strayMs: number;
}

/** The name of a NAR as Nix and handpick give it: the hash of the file, or a part of it and something unique. */
const NAR_NAME = /^nar\/[0-9a-df-np-sv-z]{52}(?:-[0-9a-f-]{36})?\.nar(?:\.[a-z0-9]{2,4})?$/;
/** Any other name below `nar`, which an entry gives it. */
const OWNED_NAR_NAME = /^nar\/\w[\w.+-]*$/;
const LISTING_NAME = /^([0-9a-df-np-sv-z]{32})\.ls$/;
const LOG_NAME = /^log\/([^/]+)$/;

/**
 * Finds the files that nothing in a cache names once entries are gone: NARs, listings, and the logs of what is gone.
 *
 * @param entries Those that stay.
 */
export function leftovers(
  files: readonly CacheFile[],
  { entries, gone }: { readonly entries: Entries; readonly gone: readonly Entry[] },
  { ownMs, strayMs }: Cutoffs,
): CacheFile[] {
  const staying = [...entries.values()];
  const named = new Set(staying.flatMap(({ urls }) => urls.flatMap(narsNamedBy)));
  const logs = new Set(gone.flatMap(({ derivers }) => derivers));
  for (const deriver of staying.flatMap(({ derivers }) => derivers)) logs.delete(deriver);
  const owned = new Set(gone.flatMap(({ urls }) => urls).filter((url) => OWNED_NAR_NAME.test(url)));
  const listings = new Set(gone.map(({ file }) => file.name.replace(/\.narinfo$/, ".ls")));
  const isLeft = ({ name, modifiedMs }: CacheFile): boolean => {
    const isOwned = owned.has(name) || listings.has(name);
    // A time that is not known counts as late.
    if (!(modifiedMs <= (isOwned ? ownMs : strayMs))) return false;
    const listing = LISTING_NAME.exec(name)?.[1];
    if (listing !== undefined) return !entries.has(`${listing}.narinfo`);
    return (owned.has(name) || NAR_NAME.test(name)) && !named.has(lastSegment(name));
  };
  const isLog = ({ name, modifiedMs }: CacheFile): boolean =>
    modifiedMs <= ownMs && logs.has(LOG_NAME.exec(name)?.[1] ?? "");
  return files.filter((file) => isLeft(file) || isLog(file));
}

/** The last part of the name of each file that a URL may mean: a NAR of that name stays, wherever it is. */
export function narsNamedBy(url: string): string[] {
  const segment = lastSegment(url.replace(/[?#].*$/, ""));
  try {
    return [segment, decodeURIComponent(segment)];
  } catch {
    return [segment];
  }
}

export function lastSegment(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}
