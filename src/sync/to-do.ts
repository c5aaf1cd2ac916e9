import { join } from "node:path";
import { lstat } from "node:fs/promises";

import type { StateFolder } from "../state/state-folder.ts";
import { isUnsettled } from "./due.ts";
import { LASTING } from "./standing.ts";
import type { Status } from "./status.ts";

/** A status without what follows from it. */
export type Found = Omit<Status, "isInPlace" | "toDo">;

/** Whoever starts syncs has looked at a selection that is so old. */
const OVERDUE_MS = 10 * 60_000;

/** Returns true if all that is wanted is where it should be, but for what the user's own rules hold back. */
export function isInPlace({ trouble, selections, unread, caches, paths }: Found): boolean {
  return (
    trouble === undefined &&
    unread === 0 &&
    selections.every((one) => !one.isUnread && one.trouble === undefined) &&
    caches.every((cache) => cache.trouble === undefined) &&
    !paths.some(isUnsettled)
  );
}

/** Returns what a person should do now, a command as a rule; undefined for nothing. */
export async function toDo(
  found: Found,
  folder: StateFolder,
  now: number,
): Promise<string | undefined> {
  if (isInPlace(found)) return undefined;
  return mend(found) ?? (await startSync(found, folder, now));
}

/** What does not heal by itself. */
function mend({ trouble, caches, selections, paths }: Found): string | undefined {
  if (trouble !== undefined) {
    return (trouble.code === "FILE_UNUSABLE" ? trouble.hint : undefined) ?? "handpick doctor";
  }
  const refusing = caches.find((cache) => LASTING.has(cache.trouble?.code ?? ""));
  if (refusing !== undefined) return `handpick doctor ${refusing.name}`;
  const unusable = selections.find((selection) => selection.trouble !== undefined);
  if (unusable?.trouble?.hint !== undefined) return unusable.trouble.hint;
  const broken = paths.find(
    (entry) => entry.state === "failing" && LASTING.has(entry.trouble?.code ?? ""),
  );
  return broken && (broken.trouble?.hint ?? "handpick sync --recheck");
}

async function startSync(
  { starter, selections, caches }: Found,
  folder: StateFolder,
  now: number,
): Promise<string | undefined> {
  const unread = selections.filter((selection) => selection.isUnread);
  const ages = unread.map(
    async ({ name }) => now - (await changedAt(join(folder.wanted, name), now)),
  );
  const isOverdue = (await Promise.all(ages)).some((age) => age > OVERDUE_MS);
  if (starter.by !== "nobody" && !isOverdue) return undefined;
  const isLater = caches.some(({ nextTry = 0 }) => nextTry > now);
  return unread.length === 0 && isLater ? "handpick sync --recheck" : "handpick sync";
}

async function changedAt(link: string, now: number): Promise<number> {
  return lstat(link).then(
    ({ mtimeMs }) => mtimeMs,
    () => now,
  );
}
