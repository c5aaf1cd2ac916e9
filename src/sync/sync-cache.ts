import { chooseCache } from "../config/choose-cache.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Decision, Plan, Reason } from "../plan/plan.ts";
import { type Failure, isOutage, toFailure } from "../error.ts";
import { type Entry, isLedgerError, type Ledger, type Outcome } from "../state/ledger.ts";
import { reasonText } from "../report/reason-text.ts";
import type { Store } from "../store/store.ts";
import { keepMark, markCredentials } from "./credential-marks.ts";
import { believable } from "./due.ts";
import { assertWritable, openConfigured } from "../run/open-caches.ts";
import { type Decided, type DecideOptions, type Members, prepareCache } from "../run/prepare.ts";
import { pushPlan, type RunEvent } from "../run/push-plan.ts";
import { Recorder } from "./recorder.ts";

/** What the syncing of one cache needs. */
export interface CacheWork extends Omit<DecideOptions, "inspect"> {
  readonly store: Store;
  readonly ledger: Ledger;
  readonly members: Members;
  /** True if paths that failed are tried before their time. */
  readonly isForced: boolean;
  readonly onEvent: (event: RunEvent) => void;
}

/** A path evicted from a cache, or one that came there otherwise, is noticed about so often. */
const RECHECK_MS = 24 * 60 * 60_000;
/** The reason of what is held for a while: it is tried again as what fails is, later and later. */
const PASSING = "upstream-unreachable";
/** Spreads questions of many machines. */
const RECHECK_SPREAD = 0.2;

/**
 * Makes one cache match what is wanted, as far as it lets us. What goes wrong is recorded and told.
 *
 * @throws The reason `signal` was aborted with, or what keeps the ledger from recording.
 */
export async function syncCache(name: string, work: CacheWork): Promise<void> {
  const { ledger, signal, onEvent } = work;
  // Read before they are used: credentials that change meanwhile are not those that fail.
  const mark = await markCredentials(name, work);
  const fail = (failure: Failure): void => {
    ledger.cacheFailed(name, failure, Date.now());
    keepMark(ledger, name, mark);
  };
  try {
    const opened = await openConfigured(chooseCache(work.config, name), work);
    await using _cache = opened.cache;
    for (const text of opened.credentials.warnings) onEvent({ event: "note", text });
    const remembered = rememberedUpstream(name, ledger);
    const options = { ...work, remembered, inspect: assertWritable };
    const decided = await prepareCache(opened, work.members, options);
    for (const text of decided.warnings) onEvent({ event: "note", text: `${name}: ${text}` });
    const outage = await push(name, decided, work);
    if (outage !== undefined) fail(outage);
    else {
      const spread = 1 - RECHECK_SPREAD * Math.random();
      const at = Date.now();
      ledger.cacheAnswered(name, { at, nextAt: Math.round(at + RECHECK_MS * spread) });
      keepMark(ledger, name, undefined);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (isLedgerError(error)) throw error;
    const failure = toFailure(error);
    fail(failure);
    const hint = failure.hint === undefined ? "" : `\n  ${failure.hint}`;
    const text = `${name}: ${failure.message} [${failure.code}]${hint}`;
    onEvent({ event: "note", level: "error", text });
  }
}

/** Paths that were in an upstream when that last answered, as the ledger has them. */
function rememberedUpstream(name: string, ledger: Ledger): Set<StorePath> {
  const mine = ledger
    .entries()
    .filter(({ cache, state }) => cache === name && state === "upstream");
  return new Set(mine.map(({ path }) => path));
}

/** Returns why the cache stopped answering, if it did. */
async function push(name: string, decided: Decided, work: CacheWork): Promise<Failure | undefined> {
  const { ledger, store, signal, config } = work;
  const entries = ledger.entries().filter(({ cache }) => cache === name);
  const known = new Map(entries.map((entry) => [entry.path, entry]));
  const { plan, outcomes } = sift(decided, known, work);
  const failing = (path: StorePath): boolean => known.get(path)?.state === "failing";
  ledger.record(
    name,
    outcomes.filter(({ path, state }) => state !== "pushed" || !failing(path)),
    Date.now(),
  );
  let outage: Failure | undefined;
  const troubled = new Set<StorePath>();
  {
    using recorder = new Recorder(ledger, name);
    const onEvent = (event: RunEvent): void => {
      work.onEvent(event);
      if (event.event === "pushed") {
        recorder.add({ path: event.path, state: "pushed", byUs: true });
      } else if (event.event === "held" && event.reason.code !== PASSING) {
        recorder.add({ path: event.path, state: "held", trouble: troubleOf(event.reason) });
      } else if (event.event === "failed" && isOutage(event.error.code)) {
        outage = event.error;
      } else if (event.event === "failed" || event.event === "pin-failed") {
        troubled.add(event.path);
        recorder.add({ path: event.path, state: "failing", trouble: event.error });
      }
    };
    const { onHole } = config.rules;
    const { failures } = await pushPlan({ ...decided, plan }, { store, signal, onHole, onEvent });
    if (failures.length > 0) throw failures[0];
  }
  // A pin that failed leaves its path failing although it is there: only now is that over.
  const healed = outcomes.filter(({ path, state }) => state === "pushed" && failing(path));
  ledger.record(
    name,
    healed.filter(({ path }) => !troubled.has(path)),
    Date.now(),
  );
  return outage;
}

/** What the plan says at once, and the plan without paths whose time to be tried again is not yet. */
function sift(
  { plan, infos }: Decided,
  known: ReadonlyMap<StorePath, Entry>,
  { isForced, config }: CacheWork,
): { readonly plan: Plan; readonly outcomes: readonly Outcome[] } {
  const now = Date.now();
  const isBlocked = config.rules.onHole === "fail" && plan.totals.held.paths > 0;
  const later = new Map<StorePath, StorePath>();
  const outcomes: Outcome[] = [];
  for (const { path, action, reason } of plan.paths) {
    const trouble = troubleOf(reason);
    if (action !== "push") {
      if (action === "present") outcomes.push({ path, state: "pushed" });
      else if (reason.code === PASSING) outcomes.push({ path, state: "failing", trouble });
      else outcomes.push({ path, state: action, trouble });
      continue;
    }
    const entry = known.get(path);
    const isEarly = !isForced && entry?.state === "failing" && believable(entry.nextTry ?? 0) > now;
    const blocker = infos.get(path)?.references.find((one) => one !== path && later.has(one));
    if (isEarly) later.set(path, path);
    else if (blocker !== undefined) {
      later.set(path, blocker);
      const because = { path: blocker, state: "later" } as const;
      outcomes.push({
        path,
        state: "held",
        trouble: troubleOf({ code: "reference-failed", because }),
      });
    } else if (isBlocked) {
      outcomes.push({ path, state: "held", trouble: troubleOf({ code: "reference-held" }) });
    } else if (entry?.state !== "failing") outcomes.push({ path, state: "waiting" });
  }
  const isNow = ({ path }: Decision): boolean => !later.has(path);
  return { plan: { ...plan, paths: plan.paths.filter(isNow) }, outcomes };
}

/** The reason as the ledger keeps it. */
function troubleOf(reason: Reason): Failure {
  return { code: reason.code, message: reasonText(reason) };
}
