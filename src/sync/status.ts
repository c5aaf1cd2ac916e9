import { Ledger } from "../state/ledger.ts";
import type { CacheEntry, Entry, EntryState, Trouble } from "../state/ledger.ts";
import type { SyncFailure } from "../state/failure.ts";
import { readNotice } from "../state/notice.ts";
import { countBuilds } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import { dueTimes } from "./due.ts";
import { findTrouble } from "./find-trouble.ts";
import type { ReadSelection } from "./look.ts";

/** A selection of the state folder. */
export interface SelectionStatus {
  readonly name: string;
  readonly manifest: string;
  /** The caches it is for; undefined if no sync has looked at it yet. */
  readonly caches: readonly string[] | undefined;
  /** Its manifest was gone from the store when a sync looked. */
  readonly isEnded: boolean;
  /** No sync has looked since it was made or changed. */
  readonly isUnread: boolean;
  readonly trouble: Trouble | undefined;
}

/** How a cache stands. */
export interface CacheStatus {
  readonly name: string;
  readonly paths: Readonly<Record<EntryState, number>>;
  readonly failingSince: number | undefined;
  readonly trouble: Trouble | undefined;
  readonly checkedAt: number | undefined;
  readonly lastPushedAt: number | undefined;
  /** When it is asked again; undefined for the next sync. */
  readonly nextTry: number | undefined;
}

/** What is known without asking anybody. Times are milliseconds since 1970. */
export interface Status {
  readonly stateFolder: string;
  /** Of the last sync; without an end it is at work, or was killed. */
  readonly lastSync:
    { readonly startedAt: number; readonly endedAt: number | undefined } | undefined;
  readonly selections: readonly SelectionStatus[];
  /** Outputs of builds that are on their way. */
  readonly builds: readonly string[];
  readonly caches: readonly CacheStatus[];
  /** Optional caches that the last sync asked nothing, since it had no credential for them. */
  readonly idle: readonly string[];
  readonly paths: readonly Entry[];
  readonly notice: string | undefined;
  /** Builds that were told of, and that no sync has looked at. */
  readonly unread: number;
  /** Why syncs fail as a whole. */
  readonly trouble: SyncFailure | undefined;
}

/**
 * Reads a state folder, whatever is in it, and changes nothing there.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if it cannot be read.
 */
export async function readStatus(folder: StateFolder): Promise<Status> {
  const links = await readWanted(folder);
  const notice = await readNotice(folder);
  using ledger = Ledger.openReadOnly(folder);
  const ended = JSON.parse(ledger?.fact("ended") ?? "[]") as readonly string[];
  const unusable = new Map(Object.entries(parseTroubles(ledger?.fact("unusable"))));
  const read = JSON.parse(ledger?.fact("read") ?? "{}") as Partial<Record<string, ReadSelection>>;
  const paths = ledger?.entries() ?? [];
  const known = new Map(ledger?.caches().map((cache) => [cache.name, cache]));
  const times = ledger === undefined ? new Map<string, number>() : dueTimes(ledger);
  return {
    stateFolder: folder.dir,
    lastSync: ledger === undefined ? undefined : lastSync(ledger),
    selections: links.map(({ name, target }) => ({
      name,
      manifest: target,
      caches: read[name]?.target === target ? read[name].caches : undefined,
      isEnded: ended.includes(target),
      isUnread: read[name]?.target !== target,
      trouble: unusable.get(name),
    })),
    builds: ledger?.builds() ?? [],
    caches: [...times].map(([name, nextTry]) => ({
      ...cacheStatus(
        name,
        paths.filter(({ cache }) => cache === name),
        known.get(name),
      ),
      nextTry: nextTry > 0 ? nextTry : undefined,
    })),
    idle: JSON.parse(ledger?.fact("idle") ?? "[]") as readonly string[],
    paths,
    notice,
    unread: await countBuilds(folder),
    trouble: await findTrouble(folder),
  };
}

function cacheStatus(
  name: string,
  entries: readonly Entry[],
  cache: CacheEntry | undefined,
): Omit<CacheStatus, "nextTry"> {
  const paths = { waiting: 0, failing: 0, pushed: 0, held: 0, excluded: 0, upstream: 0 };
  for (const { state } of entries) paths[state] += 1;
  const pushed = entries.flatMap(({ pushedAt }) => pushedAt ?? []);
  return {
    name,
    paths,
    failingSince: cache?.failingSince,
    trouble: cache?.trouble,
    checkedAt: cache?.checkedAt,
    lastPushedAt: pushed.reduce<number | undefined>((a, b) => Math.max(a ?? b, b), undefined),
  };
}

function lastSync(ledger: Ledger): Status["lastSync"] {
  const [started, ended] = [ledger.fact("syncStarted"), ledger.fact("syncEnded")];
  if (started === undefined) return undefined;
  const isOver = ended !== undefined && Number(ended) >= Number(started);
  return { startedAt: Number(started), endedAt: isOver ? Number(ended) : undefined };
}

/** What we wrote ourselves. */
function parseTroubles(text = "{}"): Readonly<Record<string, Trouble>> {
  return JSON.parse(text) as Record<string, Trouble>;
}
