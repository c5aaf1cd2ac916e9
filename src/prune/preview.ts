import type { CacheFile } from "../cache/pruner.ts";
import type { Decision } from "./decide.ts";
import type { Entry } from "./entry.ts";
import { type Cutoffs, leftovers } from "./leftovers.ts";
import type { Inventory } from "./survey.ts";

/** An entry that would go, with the bytes of what goes with it. */
export interface Going {
  readonly entry: Entry;
  readonly sizeBytes: number;
}

/** What would become of a cache. */
export interface Preview {
  readonly decision: Decision;
  /** The largest first. */
  readonly going: readonly Going[];
  /** The files that nothing names then. */
  readonly files: readonly CacheFile[];
  /** Of all files that would go. */
  readonly sizeBytes: number;
}

/** Adds up what goes with the entries that were decided to go. */
export function previewOf(decision: Decision, inventory: Inventory, cutoffs: Cutoffs): Preview {
  const gone = decision.steps.flat();
  const entries = new Map(inventory.entries);
  for (const { file } of gone) entries.delete(file.name);
  const files = leftovers(inventory.files, { entries, gone }, cutoffs);
  const sizes = new Map(files.map(({ name, sizeBytes }) => [name, sizeBytes]));
  const going = gone.map((entry) => {
    const listing = entry.file.name.replace(/\.narinfo$/, ".ls");
    const own = [...new Set([...entry.urls, listing])].map((name) => sizes.get(name) ?? 0);
    return { entry, sizeBytes: sum([entry.file.sizeBytes, ...own]) };
  });
  const sizeBytes = sum([...gone.map(({ file }) => file), ...files].map((file) => file.sizeBytes));
  return {
    decision,
    going: going.toSorted((a, b) => b.sizeBytes - a.sizeBytes),
    files,
    sizeBytes,
  };
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
