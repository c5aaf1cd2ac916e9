import type { Left } from "../sync/sync.ts";
import { formatUntil } from "./format.ts";

/** What a sync leaves for later, in a line for each cache. */
export function leftLines(left: readonly Left[], now: number): string[] {
  return left.map(({ cache, paths, codes, nextTry }) => {
    const why = codes.length === 0 ? "" : ` (${codes.join(", ")})`;
    const when = nextTry === undefined ? "" : `, next try ${formatUntil(nextTry, now)}`;
    const early = (nextTry ?? 0) > now ? ", or now with --recheck" : "";
    return `${cache}: ${paths} left${why}${when}${early}; see handpick status`;
  });
}
