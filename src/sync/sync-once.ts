import type { Config } from "../config/config.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Ledger } from "../state/ledger.ts";
import { keepRoots } from "../state/roots.ts";
import { takeMarks } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { takeBuilds } from "./builds.ts";
import { digestOf, dueTimes, isUnsettled } from "./due.ts";
import type { Wishes } from "./due.ts";
import type { OpenOptions } from "./open-caches.ts";
import type { RunEvent } from "./push-plan.ts";
import { syncCache } from "./sync-cache.ts";
import { holdWanted } from "./wanted-picks.ts";
import type { Wanted } from "./wanted-picks.ts";

export interface SyncOnceRequest extends OpenOptions {
  readonly folder: StateFolder;
  readonly config: Config;
  /** Opens the store, where there is something to do. */
  readonly openStore: () => Promise<Store>;
  readonly signal: AbortSignal;
  readonly onEvent: (event: RunEvent) => void;
  /** Ask all caches now, whatever was known, and try again what failed. */
  readonly recheck: boolean;
}

/**
 * Empties the spool and brings what is wanted to the caches that lack it, as far as they let us:
 *
 *     builds, marks taken -> links read -> anything due? -> held, closed -> entries, roots -> caches
 *
 * @returns The digest of what is wanted and was looked at.
 */
export async function syncOnce(request: SyncOnceRequest, ledger: Ledger): Promise<string> {
  const { folder, config, recheck } = request;
  await takeBuilds({ ...request, ledger });
  await takeMarks(folder);
  const wishes = { links: await readWanted(folder), builds: ledger.builds() };
  const before = digestOf(wishes, config);
  const isKnown = ledger.fact("digest") === before && !recheck;
  const isDue = dueTimes(ledger)
    .values()
    .some((time) => time <= Date.now());
  if (!isKnown || isDue) await work(request, { ledger, wishes, isKnown });
  // What was pushed of builds is no wish any more, and no reason to ask again.
  const digest = digestOf({ ...wishes, builds: ledger.builds() }, config);
  if (!isKnown || digest !== before) ledger.setFact("digest", digest);
  return digest;
}

interface Known {
  readonly ledger: Ledger;
  readonly wishes: Wishes;
  /** Whether the ledger tells what there is to do. */
  readonly isKnown: boolean;
}

async function work(request: SyncOnceRequest, { ledger, wishes, isKnown }: Known): Promise<void> {
  const { config, openStore, recheck } = request;
  await using store = await openStore();
  await using wanted = await holdWanted(wishes, { store, config });
  ledger.setFact("unusable", JSON.stringify(Object.fromEntries(wanted.troubles)));
  ledger.setFact("ended", JSON.stringify(wanted.ended));
  ledger.want(membersByCache(wanted), Date.now());
  await keep(request, { store, wanted, ledger });
  const times = [...dueTimes(ledger)].filter(([, time]) => !isKnown || time <= Date.now());
  const options = { ...request, store, ledger, members: wanted, isForced: recheck };
  await Promise.all(times.map(([name]) => syncCache(name, options)));
  const open = await keep(request, { store, wanted, ledger });
  ledger.dropBuilds(wishes.builds.filter((path) => !open.has(path)));
}

function membersByCache({ planned }: Wanted): Map<string, Set<StorePath>> {
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

interface Kept {
  readonly store: Store;
  readonly wanted: Wanted;
  readonly ledger: Ledger;
}

/**
 * Roots what is on its way, and nothing else: a selection that is in its caches costs no disk.
 *
 * @returns The roots.
 */
async function keep(
  { folder, onEvent }: SyncOnceRequest,
  { store, wanted, ledger }: Kept,
): Promise<ReadonlySet<StorePath>> {
  const unsettled = new Set(
    ledger
      .entries()
      .filter(isUnsettled)
      .map(({ path }) => path),
  );
  const roots = new Set<StorePath>();
  for (const { manifest, picks } of wanted.selections) {
    const open = picks.filter(({ members }) => !members.isDisjointFrom(unsettled));
    if (open.length > 0) roots.add(manifest);
    for (const pick of open) {
      const own = [...pick.paths, ...wanted.loose.intersection(pick.members)];
      for (const path of own) roots.add(path);
    }
  }
  if (!(await keepRoots(folder, roots, (link) => store.addRoot(link)))) {
    const text = "what waits is not safe from the garbage collector: there is no daemon to ask";
    onEvent({ event: "note", text });
  }
  return roots;
}
