import type { Config } from "../config/config.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Ledger } from "../state/ledger.ts";
import { keepRoots } from "../state/roots.ts";
import { takeMarks } from "../state/spool.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import type { WantedLink } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { digestOf, dueTimes, isUnsettled } from "./due.ts";
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
 *     marks gone -> links read -> anything due? -> held, closed -> entries, roots -> caches -> roots
 *
 * @returns The digest of what was wanted.
 */
export async function syncOnce(request: SyncOnceRequest, ledger: Ledger): Promise<string> {
  const { folder, config, recheck } = request;
  await takeMarks(folder);
  const links = await readWanted(folder);
  const digest = digestOf(links, config);
  const isKnown = ledger.fact("digest") === digest && !recheck;
  const isDue = dueTimes(ledger)
    .values()
    .some((time) => time <= Date.now());
  if (!isKnown || isDue) await work(request, { ledger, links, isKnown });
  if (!isKnown) ledger.setFact("digest", digest);
  return digest;
}

interface Known {
  readonly ledger: Ledger;
  readonly links: readonly WantedLink[];
  /** Whether the ledger tells what there is to do. */
  readonly isKnown: boolean;
}

async function work(request: SyncOnceRequest, { ledger, links, isKnown }: Known): Promise<void> {
  const { config, openStore, recheck } = request;
  await using store = await openStore();
  await using wanted = await holdWanted(links, { store, config });
  ledger.setFact("unusable", JSON.stringify(Object.fromEntries(wanted.troubles)));
  ledger.setFact("ended", JSON.stringify(wanted.ended));
  ledger.want(membersByCache(wanted), Date.now());
  await keep(request, { store, wanted, ledger });
  const times = [...dueTimes(ledger)].filter(([, time]) => !isKnown || time <= Date.now());
  const options = { ...request, store, ledger, members: wanted, isForced: recheck };
  await Promise.all(times.map(([name]) => syncCache(name, options)));
  await keep(request, { store, wanted, ledger });
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

/** Roots what is on its way, and nothing else: a selection that is in its caches costs no disk. */
async function keep(
  { folder, onEvent }: SyncOnceRequest,
  { store, wanted, ledger }: Kept,
): Promise<void> {
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
  if (await keepRoots(folder, roots, (link) => store.addRoot(link))) return;
  const text = "what waits is not safe from the garbage collector: there is no daemon to ask";
  onEvent({ event: "note", text });
}
