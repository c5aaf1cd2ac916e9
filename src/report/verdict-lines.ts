import { starterText } from "../sync/starter-text.ts";
import type { Starter } from "../sync/starter.ts";
import type { Status } from "../sync/status.ts";
import { formatDuration, formatUntil, printable } from "./format.ts";
import type { Paint } from "./painter.ts";

/** Answers three questions in a line each: is all in place, what starts the next sync, what is to be done. */
export function verdictLines(status: Status, now: number, paint: Paint): string[] {
  const { toDo, starter } = status;
  return [
    placeLine(status, paint),
    `next sync: ${printable(starterText(starter))}${detailText(starter, now)}${nextTryText(status, now)}`,
    `to do: ${toDo === undefined ? "nothing" : paint("yellow", printable(toDo))}`,
  ];
}

function placeLine(status: Status, paint: Paint): string {
  const { selections, caches, isInPlace, stateFolder } = status;
  if (!isInPlace)
    return paint("yellow", `not everything is where it should be: ${missing(status)}`);
  if (selections.length === 0 && caches.length === 0) {
    return `nothing is wanted in ${printable(stateFolder)}`;
  }
  const there = sum(status, "pushed") + sum(status, "upstream");
  const kept = sum(status, "held") + sum(status, "excluded");
  const names = caches.map(({ name }) => printable(name)).join(", ");
  const counts = caches.length === 0 ? "" : `: ${there} in ${names}`;
  const rules = kept === 0 ? "" : `, ${kept} left out by rules`;
  return paint("green", `everything is where it should be${counts}${rules}`);
}

function missing({ selections, caches, unread, unreadCaches, trouble, ...status }: Status): string {
  const isUnusable = selections.filter((one) => one.trouble !== undefined).length;
  const isUnread = selections.filter((one) => one.isUnread).length;
  const perCache = caches.flatMap(({ name, paths, ...cache }) => {
    const parts = [
      paths.waiting > 0 ? `${paths.waiting} wait` : "",
      paths.failing > 0 ? `${paths.failing} fail` : "",
    ].filter((part) => part !== "");
    const why = cache.trouble === undefined ? "" : ` (${cache.trouble.code})`;
    return parts.length === 0 && why === ""
      ? []
      : [`${name}: ${parts.join(", ") || "fails"}${why}`];
  });
  const parts = [
    trouble === undefined ? "" : `sync fails (${trouble.code})`,
    isUnread === 0 ? "" : `no sync has looked at ${counted(isUnread, "selection")}`,
    unread === 0 ? "" : `no sync has looked at ${counted(unread, "build")}`,
    unreadCaches.length === 0 ? "" : `no sync has looked at ${unreadCaches.join(", ")}`,
    isUnusable === 0 ? "" : `${counted(isUnusable, "selection")} cannot be used`,
    ...perCache,
  ].filter((part) => part !== "");
  const held = status.paths.filter(({ state }) => state === "held").length;
  return printable(parts.join("; ") || `${counted(held, "path")} held`);
}

function detailText({ by, startedAt }: Starter, now: number): string {
  if (by === "nobody") return "; see handpick sync --help";
  return startedAt === undefined ? "" : `, as ${formatDuration(Math.max(now - startedAt, 0))} ago`;
}

/** Caches that have all are asked again as well, which is no try. Where nobody starts a sync there is none. */
function nextTryText({ caches, starter }: Status, now: number): string {
  const unsettled = caches.filter(
    ({ paths, trouble }) => paths.waiting + paths.failing > 0 || trouble !== undefined,
  );
  const times = unsettled.flatMap(({ nextTry }) => nextTry ?? []);
  if (starter.by === "nobody" || times.length === 0) return "";
  return `; next try ${formatUntil(Math.min(...times), now)}`;
}

function sum({ caches }: Status, state: keyof Status["caches"][number]["paths"]): number {
  return caches.reduce((total, { paths }) => total + paths[state], 0);
}

function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
