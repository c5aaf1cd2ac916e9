import type { Unpushed } from "../sync/standing.ts";
import { formatUntil } from "./format.ts";

/** Tells in one line how much a sync leaves of one cache for later. */
export function unpushedLine({ cache, paths, codes, nextTry }: Unpushed, now: number): string {
  const why = codes.length === 0 ? "" : ` (${codes.join(", ")})`;
  const when = nextTry === undefined ? "" : `, next try ${formatUntil(nextTry, now)}`;
  const early = (nextTry ?? 0) > now ? ", or now with --recheck" : "";
  return `${cache}: ${paths} left${why}${when}${early}; see handpick status`;
}
