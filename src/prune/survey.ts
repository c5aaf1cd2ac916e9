import { CACHE_INFO_NAME, LONGEST_NARINFO } from "../cache/binary-cache.ts";
import type { CacheFile, CachePruner } from "../cache/pruner.ts";
import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { HandpickError } from "../error.ts";
import { parseNixCacheInfo } from "../nix/cache-info.ts";
import { FormatError, quote } from "../nix/format-error.ts";
import type { Entries } from "./decide.ts";
import { type Entry, isEntryName, readEntry } from "./entry.ts";

/** All that is in a cache. */
export interface Inventory {
  /** The time by the clock of the cache when it was listed. */
  readonly nowMs: number;
  readonly entries: Entries;
  readonly files: readonly CacheFile[];
}

export interface SurveyOptions {
  readonly pruner: CachePruner;
  /** The cache, for messages. */
  readonly cache: string;
  /** The store whose paths are wanted. */
  readonly storeDir: string;
  readonly signal: AbortSignal;
  /** Told how many entries were read. */
  readonly onProgress?: ((done: number, all: number) => void) | undefined;
}

/**
 * Lists a cache, and reads all entries that are not as they were before. One that cannot be read ends it: nobody
 * would know what that needs.
 *
 * @throws {HandpickError} `CACHE_NOT_FOUND` if it is none, `STORE_UNSUPPORTED` if it is that of another store.
 */
export async function survey(options: SurveyOptions, before?: Inventory): Promise<Inventory> {
  const { pruner, storeDir, signal, onProgress } = options;
  const { nowMs, files } = await pruner.list(signal);
  if (before === undefined) await assertCache(options);
  const entries = new Map<string, Entry>();
  const unread: CacheFile[] = [];
  for (const file of files) {
    if (!isEntryName(file.name)) continue;
    const known = before?.entries.get(file.name);
    if (known !== undefined && isSame(known.file, file)) entries.set(file.name, known);
    else unread.push(file);
  }
  let done = 0;
  await forEachConcurrent(unread, { limit: pruner.atOnce, signal }, async (file, signal) => {
    if (file.sizeBytes > LONGEST_NARINFO) throw tooLong(file, options);
    const bytes = await pruner.read(file.name, signal);
    if (bytes !== undefined) {
      entries.set(file.name, readEntry(file, bytes.toString(), storeDir));
    }
    onProgress?.(++done, unread.length);
  });
  return { nowMs, entries, files };
}

/** Returns the names of entries that came, or were written again, between two looks at a cache. */
export function freshNames(before: Entries, now: Entries): Set<string> {
  const fresh = [...now.values()].filter(({ file }) => {
    const known = before.get(file.name);
    return known === undefined || !isSame(known.file, file);
  });
  return new Set(fresh.map(({ file }) => file.name));
}

function isSame(one: CacheFile, other: CacheFile): boolean {
  return (
    one.version === other.version &&
    one.modifiedMs === other.modifiedMs &&
    one.sizeBytes === other.sizeBytes
  );
}

/** Nothing is removed from what is no cache, or does not hold the paths of this store. */
async function assertCache({ pruner, cache, storeDir, signal }: SurveyOptions): Promise<void> {
  const bytes = await pruner.read(CACHE_INFO_NAME, signal);
  const action = `Cannot prune cache ${quote(cache)}`;
  if (bytes === undefined) {
    throw new HandpickError("CACHE_NOT_FOUND", `${action}: it has no ${CACHE_INFO_NAME}`, {
      hint: "Check the URL: only what is a binary cache is pruned.",
    });
  }
  const found = cacheStoreDir(bytes.toString(), action);
  if (found === storeDir) return;
  throw new HandpickError(
    "STORE_UNSUPPORTED",
    `${action}: it holds paths of ${found ?? "a store that it does not name"}, and this store is ${storeDir}`,
    { hint: "Prune it on a machine with that store, or name the store with --store." },
  );
}

function cacheStoreDir(text: string, action: string): string | undefined {
  try {
    return parseNixCacheInfo(text).storeDir;
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new HandpickError("CACHE_PROTOCOL", `${action}: its ${CACHE_INFO_NAME} is none`, {
      cause,
      hint: "Check the URL: only what is a binary cache is pruned.",
    });
  }
}

function tooLong({ name, sizeBytes }: CacheFile, { cache }: SurveyOptions): HandpickError {
  const found = `${quote(name)} has ${sizeBytes} bytes, so what it needs is not known`;
  return new HandpickError("CACHE_PROTOCOL", `Cannot prune cache ${quote(cache)}: ${found}`, {
    hint: "Look at it, and remove it if nobody needs it.",
  });
}
