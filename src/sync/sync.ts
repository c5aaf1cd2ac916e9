import { setTimeout as sleep } from "node:timers/promises";

import { writeDue } from "../state/due-file.ts";
import { clearFailure } from "../state/failure.ts";
import { isLedgerDamaged, moveLedgerAside } from "../state/ledger-file.ts";
import { isLedgerError, Ledger } from "../state/ledger.ts";
import { tryLock } from "../state/lock.ts";
import { writeNotice } from "../state/notice.ts";
import { hasNews } from "../state/spool.ts";
import { makeStateFolder, stateUnusable } from "../state/state-folder.ts";
import { nextTry } from "./due.ts";
import type { RoundRequest } from "./sync-round.ts";
import { noticeOf } from "./notice-of.ts";
import { type Fault, type Unpushed, type Standing, standing } from "./standing.ts";
import { syncRounds } from "./sync-rounds.ts";

export interface SyncRequest extends Omit<RoundRequest, "ledger" | "readsNars"> {
  /** Go on until nothing is left that may yet go well. */
  readonly wait: boolean;
  /** Hears what is not where it is wanted when there is no more to do now, if that changed. */
  readonly onUnpushed?: (left: readonly Unpushed[]) => void;
}

type LockedRequest = Omit<RoundRequest, "ledger">;

/** How a sync ended: something is `left` if not all that is wanted is where it is wanted. */
export interface SyncEnd {
  readonly isOtherAtWork: boolean;
  readonly isLeft: boolean;
  readonly fault: Fault | undefined;
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
  // A user who waits wants to know now: a token that was missing may be there.
  let isForced = request.recheck || wait;
  const readsNars = request.recheck;
  let told = "[]";
  for (;;) {
    signal.throwIfAborted();
    const end = await syncLocked({ ...request, readsNars, recheck: isForced }).catch(
      (error: unknown) => {
        throw isLedgerError(error) ? stateUnusable(folder.dir, error) : error;
      },
    );
    if (end !== undefined) isForced = false;
    else if (!wait && !isForced) return { isOtherAtWork: true, isLeft: false, fault: undefined };
    if (end !== undefined && !(await hasNews(folder, passedOver))) {
      const left = JSON.stringify(end.left);
      if (left !== told) request.onUnpushed?.(end.left);
      told = left;
      if (!wait || !end.mayHeal) return { isOtherAtWork: false, ...end };
    }
    if (end === undefined || end.mayHeal) await sleep(LOOK_MS, undefined, { signal });
  }
}

/** Undefined if another sync has the lock. */
async function syncLocked(request: LockedRequest): Promise<Standing | undefined> {
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

async function syncOnce(request: LockedRequest): Promise<Standing> {
  const { folder, now } = request;
  using ledger = Ledger.open(folder);
  // The clock may be set while it runs, so the two times tell no order.
  ledger.setFact("syncEnded", "");
  ledger.setFact("syncStarted", String(now()));
  try {
    await syncRounds({ ...request, ledger });
  } finally {
    // Only a sync that was killed has no end.
    ledger.setFact("syncEnded", String(now()));
  }
  await writeNotice(folder, noticeOf(ledger, now()));
  await clearFailure(folder);
  await writeDue(folder, nextTry(ledger, now()));
  return standing(ledger, now());
}
