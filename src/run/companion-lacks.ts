import { nameOf } from "../nix/store-path.ts";
import type { CompanionLack } from "../push/events.ts";

/** Says which paths go without a small file that the cache is to have of them, a line for each reason. */
export function lackLines(lacks: readonly CompanionLack[]): string[] {
  const groups = Map.groupBy(lacks, ({ what, why }) => `without a ${what}: ${why}`);
  return [...groups].map(([text, [first, ...others]]) => {
    const name = first === undefined ? "" : nameOf(first.path);
    return others.length === 0
      ? `${name} goes ${text}`
      : `${name} and ${others.length} more go ${text}`;
  });
}
