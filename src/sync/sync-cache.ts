import type { Closeness } from "../cache/contract.ts";
import { wantedCache } from "../config/choose-cache.ts";
import { type Failure, isOutage, toFailure } from "../error.ts";
import type { StorePath } from "../nix/store-path.ts";
import {
  type CacheRunOptions,
  type Decided,
  isHoleFailing,
  type Order,
  runCache,
} from "../run/cache-run.ts";
import type { RunEvent } from "../run/events.ts";
import type { Members } from "../run/gather.ts";
import type { Tally } from "../run/tally.ts";
import { isLedgerError, type Ledger, type Outcome } from "../state/ledger.ts";
import { keepMark, markCredentials } from "./credential-marks.ts";
import { duePart, PASSING, troubleOf } from "./due-part.ts";
import { Recorder } from "./recorder.ts";

/** The input of a sync of one cache. */
export interface CacheWork extends Omit<CacheRunOptions, "onDecided" | "onWarning" | "remembered"> {
  readonly ledger: Ledger;
  readonly members: Members;
  /** True if paths that failed are tried before their time. */
  readonly isForced: boolean;
  readonly closeness: Closeness;
  readonly tally: Tally;
  /** The time in milliseconds since 1970. */
  readonly now: () => number;
}

/** A path evicted from a cache, or one that came there otherwise, is noticed about so often. */
const RECHECK_MS = 24 * 60 * 60_000;
/** Spreads questions of many machines. */
const RECHECK_SPREAD = 0.2;

/**
 * Makes one cache match what is wanted, as far as it lets us. What goes wrong is recorded and told.
 *
 * @throws The reason `signal` was aborted with, or what keeps the ledger from recording.
 */
export async function syncCache(name: string, work: CacheWork): Promise<void> {
  const { ledger, signal, onEvent, now } = work;
  // Read before they are used: credentials that change meanwhile are not those that fail.
  const mark = await markCredentials(name, work);
  const fail = (failure: Failure): void => {
    ledger.cacheFailed(name, failure, now());
    keepMark(ledger, name, mark);
  };
  try {
    const outage = await runRecorded(name, work);
    if (outage !== undefined) fail(outage);
    else {
      const spread = 1 - RECHECK_SPREAD * Math.random();
      const at = now();
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

/** Returns the failure that kept the cache from all of it, if it stopped answering. */
async function runRecorded(name: string, work: CacheWork): Promise<Failure | undefined> {
  const { ledger, members, config } = work;
  using record = new CacheRecord(name, work);
  const outage = await runCache(wantedCache(config, name), members, {
    ...work,
    remembered: rememberedUpstream(name, ledger),
    onWarning: (text) => work.onEvent({ event: "note", text: `${name}: ${text}` }),
    onDecided: (decided) => record.decide(decided),
    onEvent: (event) => record.see(event),
  });
  record.finish();
  return outage;
}

/** Keeps in the ledger what becomes of the paths of one cache. */
class CacheRecord implements Disposable {
  readonly #name: string;
  readonly #work: CacheWork;
  readonly #recorder: Recorder;
  readonly #troubled = new Set<StorePath>();
  #healed: readonly Outcome[] = [];

  constructor(name: string, work: CacheWork) {
    this.#name = name;
    this.#work = work;
    this.#recorder = new Recorder({ ...work, cache: name });
  }

  decide({ plan: whole, infos }: Decided): Order {
    const { ledger, config, isForced, tally, now } = this.#work;
    const entries = ledger.entries().filter(({ cache }) => cache === this.#name);
    const known = new Map(entries.map((entry) => [entry.path, entry]));
    const isStrict = config.rules.onHole === "fail";
    const { plan, outcomes } = duePart(whole, { known, infos, isForced, isStrict, now: now() });
    // A pin that failed leaves its path failing although it is there: only in the end is that over.
    const isHealed = ({ path, state }: Outcome): boolean =>
      state === "pushed" && known.get(path)?.state === "failing";
    this.#healed = outcomes.filter(isHealed);
    this.#record(outcomes.filter((outcome) => !isHealed(outcome)));
    const order = { plan, isCalledOff: isHoleFailing(plan, config) };
    tally.plan(order);
    return order;
  }

  see(event: RunEvent): void {
    this.#work.tally.count(event);
    this.#work.onEvent(event);
    if (event.event === "pushed") {
      this.#recorder.add({ path: event.path, state: "pushed", byUs: true });
    } else if (event.event === "held" && event.reason.code !== PASSING) {
      this.#recorder.add({ path: event.path, state: "held", trouble: troubleOf(event.reason) });
    } else if (event.event === "failed" || event.event === "pin-failed") {
      if (event.event === "failed" && isOutage(event.error.code)) return;
      this.#troubled.add(event.path);
      this.#recorder.add({ path: event.path, state: "failing", trouble: event.error });
    }
  }

  finish(): void {
    this.#recorder[Symbol.dispose]();
    this.#record(this.#healed.filter(({ path }) => !this.#troubled.has(path)));
  }

  [Symbol.dispose](): void {
    this.#recorder[Symbol.dispose]();
  }

  #record(outcomes: readonly Outcome[]): void {
    this.#work.ledger.record(this.#name, outcomes, this.#work.now());
  }
}
