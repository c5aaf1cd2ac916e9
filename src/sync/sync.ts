import { setTimeout as sleep } from "node:timers/promises";

import { writeDue } from "../state/due-file.ts";
import { clearFailure } from "../state/failure.ts";
import { isLedgerDamaged, moveLedgerAside } from "../state/ledger-file.ts";
import { isLedgerError, Ledger } from "../state/ledger.ts";
import type { CacheEntry, Entry } from "../state/ledger.ts";
import { tryLock } from "../state/lock.ts";
import { writeNotice } from "../state/notice.ts";
import { hasNews } from "../state/spool.ts";
import { makeStateFolder, stateUnusable } from "../state/state-folder.ts";
import { dueTimes, isUnsettled, nextTry } from "./due.ts";
import type { LookRequest } from "./look.ts";
import { noticeOf } from "./notice-of.ts";
import { syncRounds } from "./sync-rounds.ts";

export interface SyncRequest extends Omit<LookRequest, "ledger"> {
  /** Go on until nothing is left that may yet go well. */
  readonly wait: boolean;
  /** Hears what is not where it is wanted when there is no more to do now, if that changed. */
  readonly onLeft?: (left: readonly Left[]) => void;
}

/** What a cache lacks of what is wanted in it. */
export interface Left {
  readonly cache: string;
  readonly paths: number;
  /** Why, as far as that is known. */
  readonly codes: readonly string[];
  /** When it is tried again, in milliseconds since 1970; undefined if only a change helps. */
  readonly nextTry: number | undefined;
}

/** How a sync ended: something is `left` if not all that is wanted is where it is wanted. */
export interface SyncEnd {
  readonly isOtherAtWork: boolean;
  readonly isLeft: boolean;
}

/** How often a sync that waits looks for marks, and for the end of another sync. */
const LOOK_MS = 1000;

/**
 * Makes the caches match what is wanted. One sync works in a folder at a time: what another one
 * finds locked is done by the one at work, which looks again after it gave up the lock; only one that
 * is to wait or to recheck takes its turn.
 *
 * @throws {HandpickError} If state, store or configuration cannot be used.
 * @throws The reason `signal` was aborted with.
 */
export async function sync(request: SyncRequest): Promise<SyncEnd> {
  const { folder, signal, wait, passedOver } = request;
  await makeStateFolder(folder);
  // Who waits wants to know now: a token that was missing may be there.
  let isForced = request.recheck || wait;
  let told = "[]";
  for (;;) {
    signal.throwIfAborted();
    const end = await syncLocked({ ...request, recheck: isForced }).catch((error: unknown) => {
      throw isLedgerError(error) ? stateUnusable(folder.dir, error) : error;
    });
    if (end !== undefined) isForced = false;
    else if (!wait && !isForced) return { isOtherAtWork: true, isLeft: false };
    if (end !== undefined && !(await hasNews(folder, passedOver))) {
      const left = JSON.stringify(end.left);
      if (left !== told) request.onLeft?.(end.left);
      told = left;
      if (!wait || !end.mayHeal) return { isOtherAtWork: false, isLeft: end.isLeft };
    }
    if (end === undefined || end.mayHeal) await sleep(LOOK_MS, undefined, { signal });
  }
}

interface Standing {
  readonly left: readonly Left[];
  readonly isLeft: boolean;
  /** Whether some of what is left may go well later. */
  readonly mayHeal: boolean;
}

/** Undefined if another sync has the lock. */
async function syncLocked(request: SyncRequest): Promise<Standing | undefined> {
  const { folder } = request;
  using lock = tryLock(folder);
  if (lock === undefined) return undefined;
  try {
    return await syncOnce(request);
  } catch (error) {
    request.signal.throwIfAborted();
    if (!isLedgerDamaged(folder)) throw error;
    request.onEvent({ event: "note", text: moveLedgerAside(folder) });
    return await syncOnce(request);
  }
}

async function syncOnce(request: SyncRequest): Promise<Standing> {
  const { folder } = request;
  using ledger = Ledger.open(folder);
  // The clock may be set while it runs, so the two times tell no order.
  ledger.setFact("syncEnded", "");
  ledger.setFact("syncStarted", String(Date.now()));
  await syncRounds({ ...request, ledger });
  ledger.setFact("syncEnded", String(Date.now()));
  await writeNotice(folder, noticeOf(ledger, Date.now()));
  await clearFailure(folder);
  await writeDue(folder, nextTry(ledger));
  return standing(ledger);
}

/** Codes of what stays wrong however often it is tried; everything else may go well later. */
export const LASTING: ReadonlySet<string> = new Set([
  "STORE_UNSUPPORTED",
  "STORE_PATH_CORRUPT",
  "STORE_PATH_UNREADABLE",
  "COMPRESSOR_FAILED",
  "UPLOAD_REJECTED",
  "CACHE_UNKNOWN",
  "CACHE_URL_UNSUPPORTED",
  "CONFIG_INVALID",
  "CONFIG_UNREADABLE",
  "CONFIG_UNTRUSTED",
  "KEY_INVALID",
  "KEY_MISMATCH",
  "TOKEN_MISSING",
  "SIGNING_KEY_MISSING",
  "CACHE_NOT_FOUND",
  "CACHE_REFUSED",
  "CACHE_READ_ONLY",
]);

function standing(ledger: Ledger): Standing {
  const caches = new Map(ledger.caches().map((cache) => [cache.name, cache]));
  const left = ledger.entries().filter((entry) => isUnsettled(entry) || entry.state === "held");
  const times = dueTimes(ledger);
  const troubles = [...caches.values()].flatMap(({ trouble }) => trouble ?? []);
  const mayHeal = left.some((entry) => {
    const trouble = caches.get(entry.cache)?.trouble ?? entry.trouble;
    return entry.state !== "held" && !LASTING.has(trouble?.code ?? "");
  });
  const isUnusable = (ledger.fact("unusable") ?? "{}") !== "{}";
  return {
    left: [...Map.groupBy(left, ({ cache }) => cache)].map(([cache, entries]) => ({
      cache,
      paths: entries.length,
      codes: codesOf(entries, caches.get(cache)),
      nextTry: entries.some(isUnsettled) ? times.get(cache) : undefined,
    })),
    isLeft: left.length > 0 || troubles.length > 0 || isUnusable,
    mayHeal: mayHeal || troubles.some(({ code }) => !LASTING.has(code)),
  };
}

function codesOf(entries: readonly Entry[], cache: CacheEntry | undefined): string[] {
  if (cache?.trouble !== undefined) return [cache.trouble.code];
  return [...new Set(entries.flatMap(({ trouble }) => trouble?.code ?? []))];
}
