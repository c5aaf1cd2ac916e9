import { createHash } from "node:crypto";

import type { Config } from "../config/config.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { CacheEntry, Entry } from "../state/ledger-entry.ts";
import type { Ledger } from "../state/ledger.ts";
import type { WantedLink } from "../state/wanted.ts";

const LONGEST_MS = 24 * 60 * 60_000;

/** The input of a sync: selections of people, accepted builds, and caches that have nothing to do. */
export interface SyncInput {
  readonly links: readonly WantedLink[];
  /** Outputs of builds that are to be pushed. */
  readonly builds: readonly StorePath[];
  /** Names of optional caches that this machine has no token for. */
  readonly idle: ReadonlySet<string>;
}

/**
 * Says in short what is wanted and by which rules: as long as it stays, the ledger tells what is left
 * to do.
 */
export function digestOf(
  { links, builds, idle }: SyncInput,
  { caches, rules, builds: accepted }: Config,
): string {
  const selections = links.map(({ name, target, leadsSomewhere }) => [
    name,
    target,
    leadsSomewhere,
  ]);
  const text = JSON.stringify([selections, builds, caches, rules, accepted, [...idle].toSorted()]);
  return createHash("sha256").update(text).digest("hex");
}

/** When each cache that something is wanted in is to be asked next; a time in the past is now. */
export function dueTimes(ledger: Ledger, now: number): Map<string, number> {
  const known = new Map(ledger.caches().map((cache) => [cache.name, cache]));
  const times = new Map<string, number>();
  for (const entry of ledger.entries()) {
    const soonest = times.get(entry.cache) ?? Infinity;
    times.set(entry.cache, Math.min(soonest, dueTime(entry, known.get(entry.cache), now)));
  }
  return times;
}

/** While a cache fails, its paths wait for it; a path that fails by itself has a time of its own. */
function dueTime(entry: Entry, cache: CacheEntry | undefined, now: number): number {
  if (cache === undefined) return 0;
  if (cache.trouble !== undefined) return plausibleTime(cache.nextAt, now);
  if (entry.state === "waiting") return 0;
  return Math.min(plausibleTime(cache.nextAt, now), plausibleTime(entry.nextTry ?? Infinity, now));
}

/** No time that we write is further away than a day, unless the clock was wrong: then it is now. */
export function plausibleTime(time: number, now: number): number {
  return time === Infinity || time <= now + LONGEST_MS ? time : 0;
}

/**
 * When there is something to do again, in milliseconds since 1970: what is left to try, or to ask a
 * cache whether it still has what it had. Undefined if nothing is wanted.
 */
export function nextTry(ledger: Ledger, now: number): number | undefined {
  const times = [...dueTimes(ledger, now).values()];
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Returns true if it is not where it is wanted, and is going to be. */
export function isUnsettled({ state, trouble }: Entry): boolean {
  return state === "waiting" || state === "failing" || trouble?.code === "reference-failed";
}
