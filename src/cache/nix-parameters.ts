import { quote } from "../nix/format-error.ts";

/** The keys of a table that stand for parameters of a Nix URL. */
const KEYS: ReadonlyMap<string, string> = new Map([
  ["compression", "compression"],
  ["compression-level", "compression-level"],
  ["secret-key", "signing-key-file"],
  ["secret-keys", "signing-key-file"],
]);
/** Parameters that only readers have a use for. */
const OF_READERS: ReadonlySet<string> = new Set([
  "priority",
  "store",
  "trusted",
  "want-mass-query",
  "local-nar-cache",
  "path-info-cache-size",
]);

/**
 * The rule that a URL with parameters of Nix breaks, to be said after "it". Names the first parameter, and says
 * where it belongs; its value may be a secret of somebody.
 */
export function queryFault(query: string): string {
  const name = query.split(/[=&]/, 1)[0] ?? "";
  return `must not have parameters, found ${quote(name)}${parameterAdvice(name)}`;
}

/** Returns the place of a parameter of Nix that is none of ours, to be said after its name. */
export function parameterAdvice(name: string): string {
  const key = KEYS.get(name);
  if (key !== undefined) return `; set ${key} in [caches.NAME] of the configuration`;
  return OF_READERS.has(name) ? ", which readers set in their substituters" : "";
}
