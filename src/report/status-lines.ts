import type { Failure } from "../error.ts";
import type { Entry } from "../state/ledger-entry.ts";
import type { CacheStatus, SelectionStatus, Status } from "../sync/status.ts";
import { formatDuration, formatUntil, paddedName, printable } from "./format.ts";
import { NO_PAINT, type Paint } from "./painter.ts";
import { verdictLines } from "./verdict-lines.ts";

/** Waiting paths of a cache that are named; the others are counted. */
const MOST_WAITING = 10;

/** Puts a status into lines: three that answer what people ask, and the details. */
export function statusLines(status: Status, now: number, paint: Paint = NO_PAINT): string[] {
  return [...verdictLines(status, now, paint), ...detailLines(status, now)];
}

function detailLines(status: Status, now: number): string[] {
  const { selections, caches, paths, lastSync } = status;
  if (selections.length === 0 && caches.length === 0 && status.idle.length === 0) {
    const hint = "Shells and modules declare selections; see handpick status --help";
    return [hint, ...unreadLines(status), ...troubleLines(status, now)];
  }
  const lines = selections.flatMap(selectionLines);
  for (const cache of caches) {
    lines.push(...cacheLines(cache, status, now));
    const mine = paths.filter((entry) => entry.cache === cache.name);
    lines.push(...pathLines(mine, now));
  }
  for (const name of status.idle) {
    lines.push(`${printable(name)}: optional, and there is no token: nothing is asked`);
  }
  lines.push(...unreadLines(status), lastSyncLine(lastSync, now));
  return [...lines, ...troubleLines(status, now)];
}

function lastSyncLine(lastSync: Status["lastSync"], now: number): string {
  if (lastSync === undefined) return "never synced";
  const { startedAt, endedAt } = lastSync;
  if (endedAt === undefined) return `last sync: begun ${ago(startedAt, now)}, not ended`;
  return `last sync: ${ago(endedAt, now)}`;
}

function unreadLines({ unread }: Status): string[] {
  if (unread === 0) return [];
  return [`${unread === 1 ? "1 build was" : `${unread} builds were`} reported since the last sync`];
}

function troubleLines({ trouble, risk }: Status, now: number): string[] {
  if (trouble === undefined) {
    return risk === undefined
      ? []
      : [`sync may fail: ${troubleText(risk)}`, ...hintLines(risk, "  ")];
  }
  const { since } = trouble;
  const time = since === undefined ? "" : ` for ${formatDuration(Math.max(now - since, 0))}`;
  return [`sync fails${time}: ${troubleText(trouble)}`, ...hintLines(trouble, "  ")];
}

function selectionLines(selection: SelectionStatus): string[] {
  const { name, manifest, isEnded, isUnread, trouble, caches = [] } = selection;
  if (isUnread) return [`${name}: ${printable(manifest)} (no sync has looked at it yet)`];
  if (trouble !== undefined) {
    return [`${name}: ${troubleText(trouble)}`, ...hintLines(trouble, "  ")];
  }
  if (isEnded) return [`${name}: ended, its manifest is gone`];
  const places = caches.length === 0 ? "" : `, for ${printable(caches.join(", "))}`;
  return [`${name}: ${printable(manifest)}${places}`];
}

function cacheLines(cache: CacheStatus, { tryNow }: Status, now: number): string[] {
  const counts = Object.entries(cache.paths).flatMap(([state, count]) =>
    count > 0 ? [`${count} ${state}`] : [],
  );
  const { name, trouble, failingSince, lastPushedAt, nextTry } = cache;
  const next = nextTry === undefined ? "at the next sync" : formatUntil(nextTry, now);
  const lines = [`${printable(name)}: ${counts.join(", ")}`];
  if (lastPushedAt !== undefined) lines.push(`  last pushed ${ago(lastPushedAt, now)}`);
  if (trouble === undefined) return lines;
  const since = failingSince === undefined ? "" : ` ${formatDuration(now - failingSince)}`;
  const failing = `  failing for${since}: ${troubleText(trouble)}`;
  const then = `  next try ${next}${tryNow === undefined ? "" : `; ${tryNow} tries now`}`;
  return [...lines, failing, ...hintLines(trouble, "    "), then];
}

function pathLines(entries: readonly Entry[], now: number): string[] {
  const failing = entries.filter(({ state }) => state === "failing" || state === "held");
  const waiting = entries.filter(({ state }) => state === "waiting");
  const lines = failing.flatMap((entry) => {
    const reason = entry.trouble === undefined ? "" : `: ${troubleText(entry.trouble)}`;
    const next = entry.nextTry === undefined ? "" : `; next try ${formatUntil(entry.nextTry, now)}`;
    const since = formatDuration(now - (entry.failingSince ?? entry.waitingSince));
    const line = `  ${paddedName(entry.path)} ${entry.state} for ${since}${reason}${next}`;
    return [line, ...hintLines(entry.trouble, "    ")];
  });
  for (const entry of waiting.slice(0, MOST_WAITING)) {
    const since = formatDuration(now - entry.waitingSince);
    lines.push(`  ${paddedName(entry.path)} waiting for ${since}`);
  }
  const others = waiting.length - MOST_WAITING;
  return others > 0 ? [...lines, `  and ${others} more waiting`] : lines;
}

function troubleText({ code, message }: Failure): string {
  return printable(`${message} [${code}]`);
}

function hintLines(trouble: Failure | undefined, indent: string): string[] {
  return trouble?.hint === undefined ? [] : [`${indent}${printable(trouble.hint)}`];
}

function ago(time: number, now: number): string {
  return `${formatDuration(Math.max(now - time, 0))} ago`;
}
