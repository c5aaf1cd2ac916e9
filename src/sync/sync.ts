import { setTimeout as sleep } from "node:timers/promises";

import { writeDue } from "../state/due-file.ts";
import { clearFailure } from "../state/failure.ts";
import { isLedgerError, Ledger } from "../state/ledger.ts";
import { tryLock } from "../state/lock.ts";
import { writeNotice } from "../state/notice.ts";
import { hasNews } from "../state/spool.ts";
import { makeStateFolder, stateUnusable } from "../state/state-folder.ts";
import { isUnsettled, nextTry, waitingOf } from "./due.ts";
import type { Waiting } from "./due.ts";
import type { LookRequest } from "./look.ts";
import { noticeOf } from "./notice-of.ts";
import { syncRounds } from "./sync-rounds.ts";

export interface SyncRequest extends Omit<LookRequest, "ledger"> {
  /** Go on until nothing is left that may yet go well. */
  readonly wait: boolean;
}

/** How a sync ended: something is `left` if not all that is wanted is where it is wanted. */
export interface SyncEnd {
  readonly isOtherAtWork: boolean;
  readonly isLeft: boolean;
  readonly waiting: readonly Waiting[];
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
  const { folder, signal, wait } = request;
  await makeStateFolder(folder);
  let isForced = request.recheck;
  for (;;) {
    signal.throwIfAborted();
    const end = await syncLocked({ ...request, recheck: isForced }).catch((error: unknown) => {
      throw isLedgerError(error) ? stateUnusable(folder.dir, error) : error;
    });
    if (end !== undefined) isForced = false;
    else if (!wait && !isForced) return { isOtherAtWork: true, isLeft: false, waiting: [] };
    if (end !== undefined && !(await hasNews(folder))) {
      if (!wait || !end.mayHeal) return { ...end, isOtherAtWork: false };
    }
    if (end === undefined || end.mayHeal) await sleep(LOOK_MS, undefined, { signal });
  }
}

interface Standing extends Omit<SyncEnd, "isOtherAtWork"> {
  /** Whether some of what is left may go well later. */
  readonly mayHeal: boolean;
}

/** Undefined if another sync has the lock. */
async function syncLocked(request: SyncRequest): Promise<Standing | undefined> {
  const { folder } = request;
  using lock = tryLock(folder);
  if (lock === undefined) return undefined;
  using ledger = Ledger.open(folder);
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
  "KEY_INVALID",
  "KEY_MISMATCH",
  "TOKEN_MISSING",
  "CACHE_NOT_FOUND",
  "CACHE_REFUSED",
  "CACHE_READ_ONLY",
]);

function standing(ledger: Ledger): Standing {
  const caches = new Map(ledger.caches().map((cache) => [cache.name, cache]));
  const left = ledger.entries().filter((entry) => isUnsettled(entry) || entry.state === "held");
  const troubles = [...caches.values()].flatMap(({ trouble }) => trouble ?? []);
  const mayHeal = left.some((entry) => {
    const trouble = caches.get(entry.cache)?.trouble ?? entry.trouble;
    return entry.state !== "held" && !LASTING.has(trouble?.code ?? "");
  });
  const isUnusable = (ledger.fact("unusable") ?? "{}") !== "{}";
  return {
    isLeft: left.length > 0 || troubles.length > 0 || isUnusable,
    waiting: waitingOf(ledger),
    mayHeal: mayHeal || troubles.some(({ code }) => !LASTING.has(code)),
  };
}
