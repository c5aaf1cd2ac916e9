import type { Ledger } from "../state/ledger.ts";
import { plausibleSince } from "../state/times.ts";

export const DAY_MS: number = 24 * 60 * 60_000;

/** Returns the notice for a person who does not look: something has failed for a day. */
export function noticeOf(ledger: Ledger, now: number): string | undefined {
  const isOld = (since: number | undefined): boolean =>
    since !== undefined && now - plausibleSince(since, now) > DAY_MS;
  const entries = ledger.entries();
  const caches = ledger.caches().filter(({ failingSince }) => isOld(failingSince));
  const down = new Set(caches.map(({ name }) => name));
  const failing = entries.filter((entry) => !down.has(entry.cache) && isOld(entry.failingSince));
  const parts: string[] = [];
  for (const { name } of caches) parts.push(`cache ${name} has failed for more than a day`);
  if (failing.length > 0) {
    const names = [...new Set(failing.map(({ cache }) => cache))].join(", ");
    const paths = failing.length === 1 ? "1 path" : `${failing.length} paths`;
    parts.push(`${paths} could not be pushed to ${names} for more than a day`);
  }
  return parts.length === 0 ? undefined : `handpick: ${parts.join("; ")}; see handpick status`;
}
