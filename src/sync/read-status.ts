import {
  parseReadSelections,
  parseStrings,
  parseTexts,
  parseTime,
  parseTroubles,
  type ReadSelection,
} from "../state/facts.ts";
import type { Config } from "../config/config.ts";
import { ledgerDamaged } from "../state/ledger-file.ts";
import type { CacheEntry, Entry } from "../state/ledger-entry.ts";
import { isLedgerError, Ledger } from "../state/ledger.ts";
import type { SyncFailure } from "../state/failure.ts";
import { readNotice } from "../state/notice.ts";
import { countBuilds } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { OWN_SYNC, syncCommand } from "../state/state-trust.ts";
import { isPlausible, plausibleSince } from "../state/times.ts";
import { readWanted } from "../state/wanted.ts";
import { plausibleTime, dueTimes } from "./due.ts";
import { type Failure, toFailure } from "../error.ts";
import { findRisk, findTrouble } from "./find-trouble.ts";
import { findStarter } from "./starter.ts";
import type { CacheStatus, Status } from "./status.ts";
import { type StatusFacts, isInPlace, toDo } from "./to-do.ts";

export interface StatusOptions {
  /** The configuration that a sync would take, if it can be used. */
  readonly config?: Config | undefined;
  /** Why syncs may fail that the folder does not tell, as for its configuration. */
  readonly risk?: Failure | undefined;
  /** Milliseconds since 1970. @default {Date.now()} */
  readonly now?: number;
}

/**
 * Reads a state folder, whatever is in it, and changes nothing there.
 *
 * @param env Where unit files are, and where crontab is found. @default {process.env}
 * @throws {HandpickError} `FILE_UNUSABLE` if it cannot be read, or may be another user's.
 */
export async function readStatus(
  folder: StateFolder,
  env: NodeJS.ProcessEnv = process.env,
  { config, risk, now = Date.now() }: StatusOptions = {},
): Promise<Status> {
  const { configured, ...state } = await readState(folder, now);
  const starter = await findStarter(folder, { env });
  const sync = await syncCommand(folder.dir);
  const found = {
    ...state,
    unreadCaches: unreadCaches(state, configured, config),
    risk: state.risk ?? risk,
    starter,
    ...(sync === OWN_SYNC ? { tryNow: `${sync} --recheck` } : {}),
  };
  return {
    ...found,
    isInPlace: isInPlace(found),
    toDo: await toDo(found, folder, now),
  };
}

/**
 * Returns the names of caches that the last sync did not know, where something is wanted. Another file than that of
 * the sync tells nothing of it: a service has its own.
 */
function unreadCaches(
  { selections, caches }: Pick<StatusFacts, "selections" | "caches">,
  known: Configured | undefined,
  config: Config | undefined,
): string[] {
  if (selections.every(({ isEnded }) => isEnded) && caches.length === 0) return [];
  if (config === undefined || known?.file !== config.file) return [];
  return config.caches.flatMap(({ name, url }) => (known?.urls.get(name) === url ? [] : [name]));
}

/** The folder's part of the facts, and the configuration that the last sync went by. */
interface FolderFacts extends Omit<StatusFacts, "starter" | "unreadCaches"> {
  readonly configured: Configured | undefined;
}

async function readState(folder: StateFolder, now: number): Promise<FolderFacts> {
  const links = await readWanted(folder, "read");
  const notice = await readNotice(folder);
  const { paths, known, times, trouble, ...ledger } = readLedger(folder, now);
  const { ended, unusable, read } = ledger;
  return {
    stateFolder: folder.dir,
    lastSync: ledger.lastSync,
    selections: links.map(({ name, target }) => ({
      name,
      manifest: target,
      caches: read.get(name)?.target === target ? read.get(name)?.caches : undefined,
      isEnded: ended.includes(target),
      isUnread: read.get(name)?.target !== target,
      trouble: unusable.get(name),
    })),
    builds: ledger.builds,
    caches: [...times].map(([name, nextTry]) => ({
      ...cacheStatus(
        name,
        paths.filter(({ cache }) => cache === name),
        { cache: known.get(name), now },
      ),
      nextTry: nextTry > 0 ? nextTry : undefined,
    })),
    idle: ledger.idle,
    configured: ledger.configured,
    paths,
    notice,
    unread: await countBuilds(folder),
    trouble: plausibleFailure((await findTrouble(folder)) ?? trouble, now),
    risk: await findRisk(folder),
  };
}

/** The configuration that a sync went by. */
interface Configured {
  readonly file: string;
  /** URLs of caches, by their names. */
  readonly urls: ReadonlyMap<string, string>;
}

/** Reads the ledger; gives nothing but the reason if it cannot be used. */
interface LedgerView extends Pick<Status, "lastSync" | "builds" | "idle" | "paths"> {
  readonly ended: readonly string[];
  readonly unusable: ReadonlyMap<string, Failure>;
  readonly read: ReadonlyMap<string, ReadSelection>;
  readonly known: ReadonlyMap<string, CacheEntry>;
  readonly times: ReadonlyMap<string, number>;
  readonly configured?: Configured | undefined;
  readonly trouble?: SyncFailure;
}

const NOTHING: LedgerView = {
  lastSync: undefined,
  builds: [],
  idle: [],
  paths: [],
  ended: [],
  unusable: new Map(),
  read: new Map(),
  known: new Map(),
  times: new Map(),
};

function readLedger(folder: StateFolder, now: number): LedgerView {
  try {
    using ledger = Ledger.openReadOnly(folder);
    if (ledger === undefined) return NOTHING;
    return {
      lastSync: lastSync(ledger, now),
      builds: ledger.builds(),
      paths: ledger.entries().map((entry) => plausibleEntry(entry, now)),
      idle: parseStrings(ledger.fact("idle")),
      ended: parseStrings(ledger.fact("ended")),
      unusable: parseTroubles(ledger.fact("unusable")),
      read: parseReadSelections(ledger.fact("read")),
      known: new Map(ledger.caches().map((cache) => [cache.name, cache])),
      times: dueTimes(ledger, now),
      configured: configuredBy(ledger),
    };
  } catch (error) {
    const found = isLedgerError(error) ? ledgerDamaged(folder.dir, error) : error;
    return { ...NOTHING, trouble: toFailure(found) };
  }
}

/** Undefined if no sync recorded it, as those of older versions. */
function configuredBy(ledger: Ledger): Configured | undefined {
  const file = ledger.fact("configFile") ?? "";
  return file === "" ? undefined : { file, urls: parseTexts(ledger.fact("configured")) };
}

function plausibleFailure(failure: SyncFailure | undefined, now: number): SyncFailure | undefined {
  if (failure?.since === undefined) return failure;
  return { ...failure, since: plausibleSince(failure.since, now) };
}

/** Times that the clock gave before it was set tell nothing. */
function plausibleEntry(entry: Entry, now: number): Entry {
  const { waitingSince, failingSince, nextTry, pushedAt, seenAt } = entry;
  return {
    ...entry,
    waitingSince: plausibleSince(waitingSince, now),
    failingSince: failingSince === undefined ? undefined : plausibleSince(failingSince, now),
    nextTry: nextTry === undefined ? undefined : plausibleTime(nextTry, now) || now,
    pushedAt: plausibleMoment(pushedAt, now),
    seenAt: plausibleMoment(seenAt, now),
  };
}

function plausibleMoment(time: number | undefined, now: number): number | undefined {
  return time !== undefined && isPlausible(time, now) ? time : undefined;
}

function cacheStatus(
  name: string,
  entries: readonly Entry[],
  { cache, now }: { readonly cache: CacheEntry | undefined; readonly now: number },
): Omit<CacheStatus, "nextTry"> {
  const paths = { waiting: 0, failing: 0, pushed: 0, held: 0, excluded: 0, upstream: 0 };
  for (const { state } of entries) paths[state] += 1;
  const pushed = entries.flatMap(({ pushedAt }) => pushedAt ?? []);
  return {
    name,
    paths,
    failingSince:
      cache?.failingSince === undefined ? undefined : plausibleSince(cache.failingSince, now),
    trouble: cache?.trouble,
    checkedAt: plausibleMoment(cache?.checkedAt, now),
    lastPushedAt: pushed.reduce<number | undefined>((a, b) => Math.max(a ?? b, b), undefined),
  };
}

function lastSync(ledger: Ledger, now: number): Status["lastSync"] {
  const [startedAt, endedAt] = (["syncStarted", "syncEnded"] as const)
    .map((name) => parseTime(ledger.fact(name)))
    .map((time) => (time === undefined ? undefined : plausibleSince(time, now)));
  return startedAt === undefined ? undefined : { startedAt, endedAt };
}
