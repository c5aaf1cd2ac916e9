import type { Config } from "../config/config.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { SharedPacker } from "../push/shared-packer.ts";
import { parseStrings, type ReadSelection } from "../state/facts.ts";
import type { Ledger } from "../state/ledger.ts";
import type { PassedOver } from "../state/passed-over.ts";
import { emptySpool, takeMarks } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { takeBuilds } from "./builds.ts";
import { renewedCaches } from "./credential-marks.ts";
import type { CacheWorkers } from "./cache-workers.ts";
import { digestOf, dueTimes } from "./due.ts";
import { idleCaches, idleNames } from "../run/idle-caches.ts";
import type { SyncInput } from "./due.ts";
import { keepUnsettled } from "./keep-unsettled.ts";
import type { OpenOptions } from "../run/open-caches.ts";
import type { RunEvent } from "../run/events.ts";
import type { Tally } from "../run/tally.ts";
import { syncCache } from "./sync-cache.ts";
import { holdWanted } from "./wanted-picks.ts";
import type { Wanted } from "./wanted-picks.ts";

export interface RoundRequest extends OpenOptions {
  readonly folder: StateFolder;
  readonly config: Config;
  readonly ledger: Ledger;
  /** Opens the store, where there is something to do. */
  readonly openStore: () => Promise<Store>;
  readonly signal: AbortSignal;
  readonly onEvent: (event: RunEvent) => void;
  /** Counts over all caches and rounds. */
  readonly tally: Tally;
  /** Collects what of the state folder is left alone; what is in it was told. */
  readonly passedOver: PassedOver;
  /** The time in milliseconds since 1970. */
  readonly now: () => number;
  /** Ask all caches now, whatever was known, and try again what failed. */
  readonly recheck: boolean;
  /** With `recheck`, read NARs that are on a disk. */
  readonly readsNars: boolean;
}

/** A request with the packer of all rounds. */
export interface PackedRound extends RoundRequest {
  readonly packer: SharedPacker;
}

/** A round that has begun. */
export interface Round {
  readonly input: SyncInput;
  /** Absent if there was nothing to do. */
  readonly held: HeldWanted | undefined;
  /** Caches that would have been asked but for those who are busy with them. */
  readonly skipped: readonly string[];
}

/** The wanted paths, held in their store until this is disposed, which waits for the work on them. */
export interface HeldWanted extends AsyncDisposable {
  readonly store: Store;
  readonly wanted: Wanted;
}

/**
 * Deals with the queue, reads what is wanted, and puts the workers to work on caches where something is
 * due:
 *
 *     builds, marks taken -> links read -> anything due? -> held, closed -> entries, roots -> workers
 */
export async function startRound(request: PackedRound, workers: CacheWorkers): Promise<Round> {
  const { folder, config, ledger, openStore, recheck, now } = request;
  await emptySpool(folder, request.passedOver);
  await takeBuilds(request);
  await takeMarks(folder, request.passedOver);
  tellPassedOver(request);
  const links = await readWanted(folder);
  const before = { links, builds: ledger.builds(), idle: await stillIdle(request) };
  const isKnown = ledger.fact("digest") === digestOf(before, config) && !recheck;
  const renewed = await renewedCaches(request);
  const isWaiting = ([name, time]: readonly [string, number]): boolean =>
    (time <= now() || renewed.has(name)) && !workers.isBusyWith(name);
  if (isKnown && ![...dueTimes(ledger, now())].some(isWaiting)) {
    return { input: before, held: undefined, skipped: [] };
  }
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await openStore());
  const wanted = stack.use(await holdWanted(before, { ...request, store }));
  const input = { ...before, idle: wanted.idle };
  // A digest stands for entries, so none does while they change.
  if (!isKnown) ledger.setFact("digest", "");
  for (const text of wanted.notes) request.onEvent({ event: "note", text });
  tell(wanted.troubles, request);
  record(input, wanted, request);
  ledger.want(membersByCache(wanted), now());
  await keepUnsettled(request, { store, wanted });
  tellPassedOver(request);
  const names = [...dueTimes(ledger, now())]
    .filter(
      ([name, time]) =>
        time <= now() || renewed.has(name) || (!isKnown && !workers.hasFailedAt(name)),
    )
    .map(([name]) => name);
  const idle = names.filter((name) => !workers.isBusyWith(name));
  const closeness = recheck ? (request.readsNars ? "bytes" : "nar") : "narinfo";
  const work = { ...request, store, members: wanted, isForced: recheck, closeness } as const;
  const begun = idle.map((name) => workers.start(name, () => syncCache(name, work)));
  stack.defer(async () => void (await Promise.all(begun)));
  const kept = stack.move();
  const held = { store, wanted, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  return { input, held, skipped: names.filter((name) => !idle.includes(name)) };
}

/** Finds which of the caches that were idle at the last look, and of the optional ones, are idle now. */
async function stillIdle(request: RoundRequest): Promise<ReadonlySet<string>> {
  const known = parseStrings(request.ledger.fact("idle"));
  const optional = await idleCaches(request.config.caches, request);
  return optional.union(await idleNames(known, request));
}

function tellPassedOver({ passedOver, onEvent }: RoundRequest): void {
  for (const text of passedOver.takeNotes()) onEvent({ event: "note", text });
}

function tell(troubles: Wanted["troubles"], { onEvent }: RoundRequest): void {
  for (const [name, { code, message, hint }] of troubles) {
    const text = `${name}: ${message} [${code}]`;
    const lines = hint === undefined ? text : `${text}\n  ${hint}`;
    onEvent({ event: "note", level: "error", text: lines });
  }
}

/** Writes down what links led to, for `status` and for the next look. */
function record(
  { links, idle }: SyncInput,
  wanted: Wanted,
  { ledger, config }: Pick<RoundRequest, "ledger" | "config">,
): void {
  const read = links.map(({ name, target }): [string, ReadSelection] => {
    const picks = wanted.selections.find(({ manifest }) => manifest === target)?.picks ?? [];
    const caches = [...new Set(picks.flatMap((pick) => pick.caches))].toSorted();
    return [name, { target, caches }];
  });
  ledger.setFact("read", JSON.stringify(Object.fromEntries(read)));
  const configured = config.caches.map(({ name, url }) => [name, url] as const);
  ledger.setFact("configFile", config.file ?? "");
  ledger.setFact("configured", JSON.stringify(Object.fromEntries(configured)));
  ledger.setFact("unusable", JSON.stringify(Object.fromEntries(wanted.troubles)));
  ledger.setFact("idle", JSON.stringify([...idle]));
  ledger.setFact("ended", JSON.stringify(wanted.ended));
  ledger.setFact("gone", JSON.stringify([...wanted.ended, ...wanted.gone]));
}

/** Returns the paths wanted in each cache, by its name. */
export function membersByCache({ planned }: Wanted): Map<string, Set<StorePath>> {
  const members = new Map<string, Set<StorePath>>();
  for (const pick of planned) {
    for (const cache of pick.caches) {
      const known = members.get(cache) ?? new Set();
      for (const path of pick.members) known.add(path);
      members.set(cache, known);
    }
  }
  return members;
}
