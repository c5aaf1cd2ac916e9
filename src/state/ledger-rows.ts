import { isStorePath, type StorePath } from "../nix/store-path.ts";
import { quote } from "../nix/format-error.ts";
import type { Failure } from "../error.ts";
import type { CacheEntry, Entry, EntryState } from "./ledger-entry.ts";
import { LedgerDamage } from "./ledger-damage.ts";

type Row = Readonly<Record<string, unknown>>;

const STATES: readonly string[] = [
  "waiting",
  "failing",
  "pushed",
  "held",
  "excluded",
  "upstream",
] satisfies readonly EntryState[];

/** @throws {LedgerDamage} */
export function toEntry(row: Row): Entry {
  return {
    cache: text(row, "cache"),
    path: toPath(row),
    state: toState(row["state"]),
    waitingSince: number(row, "waiting_since"),
    failingSince: optionalNumber(row, "failing_since"),
    tries: number(row, "tries"),
    nextTry: optionalNumber(row, "next_try"),
    trouble: toFailure(row),
    pushedAt: optionalNumber(row, "pushed_at"),
    seenAt: optionalNumber(row, "seen_at"),
  };
}

/** @throws {LedgerDamage} */
export function toCacheEntry(row: Row): CacheEntry {
  return {
    name: text(row, "name"),
    failingSince: optionalNumber(row, "failing_since"),
    nextAt: number(row, "next_at"),
    trouble: toFailure(row),
    checkedAt: optionalNumber(row, "checked_at"),
  };
}

/**
 * The path of an entry or of a build, of whichever store.
 *
 * @throws {LedgerDamage}
 */
export function toPath(row: Row): StorePath {
  const path = text(row, "path");
  if (isStorePath(path, path.slice(0, path.lastIndexOf("/")))) return path;
  throw new LedgerDamage(`expected a store path, found ${quote(path)}`);
}

function toState(value: unknown): EntryState {
  if (isState(value)) return value;
  throw new LedgerDamage(`expected a state of a path, found ${quote(String(value))}`);
}

function isState(value: unknown): value is EntryState {
  return typeof value === "string" && STATES.includes(value);
}

function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === "string" && value !== "") return value;
  throw new LedgerDamage(`expected a text for ${column}, found ${quote(String(value))}`);
}

function number(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === "number" && value >= 0) return value;
  throw new LedgerDamage(`expected a number for ${column}, found ${quote(String(value))}`);
}

function optionalNumber(row: Row, column: string): number | undefined {
  return row[column] === null ? undefined : number(row, column);
}

function toFailure({ code, message, hint }: Row): Failure | undefined {
  if (typeof code !== "string" || typeof message !== "string") return undefined;
  return { code, message, ...(typeof hint === "string" ? { hint } : {}) };
}
