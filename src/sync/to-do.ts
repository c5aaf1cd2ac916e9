import { join } from "node:path";
import { lstat } from "node:fs/promises";

import type { StateFolder } from "../state/state-folder.ts";
import { syncCommand } from "../state/state-trust.ts";
import { isUnsettled } from "./due.ts";
import { type Failure, isLasting } from "../error.ts";
import type { Status } from "./status.ts";

/** The facts of a status, without the conclusions from them. */
export type StatusFacts = Omit<Status, "isInPlace" | "toDo">;

/** A starter of syncs has looked at a selection that is so old. */
const OVERDUE_MS = 10 * 60_000;

/** Returns true if all that is wanted is where it should be, but for what the user's own rules hold back. */
export function isInPlace(found: StatusFacts): boolean {
  const { trouble, selections, unread, unreadCaches, caches, paths } = found;
  return (
    trouble === undefined &&
    unread === 0 &&
    unreadCaches.length === 0 &&
    selections.every((one) => !one.isUnread && one.trouble === undefined) &&
    caches.every((cache) => cache.trouble === undefined) &&
    !paths.some(isUnsettled)
  );
}

/** Returns what a person should do now, a command as a rule; undefined for nothing. */
export async function toDo(
  found: StatusFacts,
  folder: StateFolder,
  now: number,
): Promise<string | undefined> {
  const { trouble, risk } = found;
  const sync = await syncCommand(folder.dir);
  if (trouble !== undefined) return mendAll(trouble, `handpick doctor && ${sync}`);
  if (risk !== undefined) return mendAll(risk, "handpick doctor");
  if (isInPlace(found)) return undefined;
  return mend(found, sync) ?? (await startSync(found, folder, { now, sync }));
}

/** Codes that another token mends; any sync tries that at once. */
const NEEDS_TOKEN: ReadonlySet<string> = new Set([
  "TOKEN_MISSING",
  "CACHE_REFUSED",
  "CACHE_READ_ONLY",
]);

/** Makes syncs possible again; where a file or a disk is the reason, its hint says how. */
function mendAll({ code, hint }: Failure, otherwise: string): string {
  return (code === "FILE_UNUSABLE" ? hint : undefined) ?? otherwise;
}

/** Mends what does not heal by itself. A check that succeeds is followed by the sync that makes it true. */
function mend({ caches, selections, paths }: StatusFacts, sync: string): string | undefined {
  const refusing = caches.find((cache) => isLasting(cache.trouble?.code ?? ""));
  if (refusing !== undefined) {
    const check = `handpick doctor ${refusing.name}`;
    const code = refusing.trouble?.code ?? "";
    // The configuration lacks the cache: what a doctor finds of the cache itself mends nothing.
    if (code === "CACHE_UNKNOWN" && refusing.trouble?.hint !== undefined) {
      return `${refusing.trouble.hint} Then run: ${recheck(sync) ?? sync}`;
    }
    const again = recheck(sync) ?? (NEEDS_TOKEN.has(code) ? sync : undefined);
    return again === undefined ? check : `${check} && ${again}`;
  }
  const unusable = selections.find((selection) => selection.trouble !== undefined);
  if (unusable?.trouble?.hint !== undefined) return unusable.trouble.hint;
  const broken = paths.find(
    (entry) => entry.state === "failing" && isLasting(entry.trouble?.code ?? ""),
  );
  return broken && (broken.trouble?.hint ?? recheck(sync) ?? sync);
}

/** The sync that tries at once what failed; undefined where a service runs it, which takes its time. */
function recheck(sync: string): string | undefined {
  return sync.endsWith("handpick sync") ? `${sync} --recheck` : undefined;
}

async function startSync(
  { starter, selections, caches, unread: builds, unreadCaches }: StatusFacts,
  folder: StateFolder,
  { now, sync }: { readonly now: number; readonly sync: string },
): Promise<string | undefined> {
  const unread = selections.filter((selection) => selection.isUnread);
  const ages = unread.map(
    async ({ name }) => now - (await changedAt(join(folder.wanted, name), now)),
  );
  const isOverdue = (await Promise.all(ages)).some((age) => age > OVERDUE_MS);
  // The hook of a shell looks at its own selection only.
  const isLeftAlone = starter.by === "shell" && (builds > 0 || unreadCaches.length > 0);
  if (starter.by !== "nobody" && !isOverdue && !isLeftAlone) return undefined;
  const isLater = caches.some(({ nextTry = 0 }) => nextTry > now);
  const isNew = unread.length > 0 || builds > 0 || unreadCaches.length > 0;
  return !isNew && isLater ? (recheck(sync) ?? sync) : sync;
}

async function changedAt(link: string, now: number): Promise<number> {
  return lstat(link).then(
    ({ mtimeMs }) => mtimeMs,
    () => now,
  );
}
