import type { Failure } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { LedgerDamage } from "./ledger-damage.ts";

/** A link as a sync read it; the ledger keeps it by the name of the selection. */
export interface ReadSelection {
  readonly target: string;
  readonly caches: readonly string[];
}

/**
 * Reads a fact that is a list of texts; none if it is not recorded.
 *
 * @throws {LedgerDamage}
 */
export function parseStrings(fact = "[]"): string[] {
  return strings(parse(fact));
}

/**
 * Reads a fact that is a text for each of some names.
 *
 * @throws {LedgerDamage}
 */
export function parseTexts(fact = "{}"): ReadonlyMap<string, string> {
  const value = parse(fact);
  if (!isObject(value)) throw unexpected("an object", fact);
  return new Map(Object.entries(value).map(([name, text]) => [name, string(text)]));
}

/**
 * Reads a fact that is a trouble for each of some names.
 *
 * @throws {LedgerDamage}
 */
export function parseTroubles(fact = "{}"): ReadonlyMap<string, Failure> {
  return mapOf(fact, ({ code, message, hint }) => ({
    code: string(code),
    message: string(message),
    ...(hint === undefined ? {} : { hint: string(hint) }),
  }));
}

/**
 * Reads the fact that says what each link led to.
 *
 * @throws {LedgerDamage}
 */
export function parseReadSelections(fact = "{}"): ReadonlyMap<string, ReadSelection> {
  return mapOf(fact, ({ target, caches }) => ({ target: string(target), caches: strings(caches) }));
}

/**
 * Reads a fact that is a time, in milliseconds since 1970; undefined if it is not recorded.
 *
 * @throws {LedgerDamage}
 */
export function parseTime(fact = ""): number | undefined {
  if (fact === "") return undefined;
  if (/^\d{1,15}$/.test(fact)) return Number(fact);
  throw unexpected("a time", fact);
}

const READERS: Readonly<Record<string, (fact: string) => unknown>> = {
  ended: parseStrings,
  gone: parseStrings,
  idle: parseStrings,
  credentials: parseTexts,
  configured: parseTexts,
  unusable: parseTroubles,
  read: parseReadSelections,
  syncStarted: parseTime,
  syncEnded: parseTime,
};

/** @throws {LedgerDamage} If a fact is not what is recorded under its name. */
export function assertFact(name: string, fact: string): void {
  READERS[name]?.(fact);
}

function parse(fact: string): unknown {
  try {
    return JSON.parse(fact);
  } catch {
    throw unexpected("JSON", fact);
  }
}

function mapOf<T>(
  fact: string,
  read: (value: Readonly<Record<string, unknown>>) => T,
): ReadonlyMap<string, T> {
  const value = parse(fact);
  if (!isObject(value)) throw unexpected("an object", fact);
  return new Map(
    Object.entries(value).map(([name, one]) => {
      if (!isObject(one)) throw unexpected("an object", fact);
      return [name, read(one)];
    }),
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function strings(value: unknown): string[] {
  if (!Array.isArray(value)) throw unexpected("a list", String(value));
  return value.map(string);
}

function string(value: unknown): string {
  if (typeof value === "string") return value;
  throw unexpected("a text", String(value));
}

function unexpected(expected: string, found: string): LedgerDamage {
  return new LedgerDamage(`expected ${expected} for a fact, found ${quote(found)}`);
}
