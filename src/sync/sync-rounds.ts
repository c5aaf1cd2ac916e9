import { SharedPacker } from "../push/shared-packer.ts";
import { hasNews } from "../state/spool.ts";
import { readWanted } from "../state/wanted.ts";
import { CacheWorkers } from "./cache-workers.ts";
import { digestOf } from "./due.ts";
import type { SyncInput } from "./due.ts";
import { keepUnsettled } from "./keep-unsettled.ts";
import { membersByCache, startRound } from "./sync-round.ts";
import type { HeldWanted, Round, RoundRequest } from "./sync-round.ts";

/** A build that no cache took for so long is given up: unlike a selection, nobody can withdraw it. */
const BUILD_WAITS_MS = 30 * 24 * 60 * 60_000;
/** How often it looks for something new while caches are worked on. */
const LOOK_MS = 1000;

/**
 * Looks at what is wanted and has caches worked on, again and again until nothing is new. It looks
 * while they are worked on too: what is wanted in one cache does not wait for another one that hangs.
 *
 * @throws The reason `signal` was aborted with, or what makes state, store or configuration unusable.
 */
export async function syncRounds(request: RoundRequest): Promise<void> {
  const { ledger, folder } = request;
  await using packer = new SharedPacker({ spoolDir: folder.dir });
  const failed = new AbortController();
  const signal = AbortSignal.any([request.signal, failed.signal]);
  const workers = new CacheWorkers((name) =>
    ledger.caches().some((cache) => cache.name === name && cache.trouble !== undefined),
  );
  const letGo: PromiseLike<void>[] = [];
  const release = (one: HeldWanted | undefined): void => {
    if (one !== undefined) letGo.push(one[Symbol.asyncDispose]());
  };
  let held: HeldWanted | undefined;
  try {
    for (let { recheck } = request, isDone = false; !isDone; recheck = false) {
      const seen: Round = await startRound({ ...request, packer, signal, recheck }, workers);
      if (seen.held !== undefined) {
        release(held);
        held = seen.held;
      }
      const isNew = await untilNews(request, seen, workers);
      if (!workers.isBusy && held !== undefined) await releasePushed(request, seen.input, held);
      if (workers.isBusy || isNew) continue;
      isDone = !giveUpBuilds(request) && !(await hasChanged(request, seen.input));
    }
  } catch (error) {
    failed.abort(error);
    throw error;
  } finally {
    release(held);
    await Promise.all(letGo);
  }
}

/**
 * Gives up builds that waited for too long; another round then ends what the ledger has of them. That is
 * done after caches were asked: the machine may have been off all the time, or its clock may be wrong.
 *
 * @returns True if there were any.
 */
function giveUpBuilds({ ledger, now, onEvent }: RoundRequest): boolean {
  const number = ledger.dropOldBuilds({ now: now(), waitsMs: BUILD_WAITS_MS });
  if (number === 0) return false;
  const text = `builds given up, since no cache took them for 30 days: ${number}`;
  onEvent({ event: "note", text });
  return true;
}

/** Waits until all work is done, or there is reason to look again, which it tells. */
async function untilNews(
  request: RoundRequest,
  seen: Round,
  workers: CacheWorkers,
): Promise<boolean> {
  const isLate = (): boolean => seen.skipped.some((name) => !workers.isBusyWith(name));
  for (;;) {
    await workers.rest(LOOK_MS);
    if (isLate()) return true;
    if (!workers.isBusy) return false;
    if (await hasChanged(request, seen.input)) return true;
  }
}

async function hasChanged(
  { folder, config, ledger, passedOver }: RoundRequest,
  input: SyncInput,
): Promise<boolean> {
  const links = await readWanted(folder);
  if (digestOf({ ...input, links }, config) !== digestOf(input, config)) return true;
  // A watch records builds itself.
  return !new Set(ledger.builds()).isSubsetOf(new Set(input.builds)) || hasNews(folder, passedOver);
}

/** Lets go of what is where it is wanted. Nobody works any more, so the ledger tells all. */
async function releasePushed(
  request: RoundRequest,
  input: SyncInput,
  held: HeldWanted,
): Promise<void> {
  const { ledger, config, now } = request;
  // Work that went on meanwhile may have recorded paths that are not wanted any more.
  ledger.want(membersByCache(held.wanted), now());
  const open = await keepUnsettled(request, held);
  ledger.dropBuilds(input.builds.filter((path) => !open.has(path)));
  // Builds that were pushed are no wish any more, and no reason to ask again; those recorded
  // meanwhile are.
  const builds = input.builds.filter((path) => open.has(path));
  ledger.setFact("digest", digestOf({ ...input, builds }, config));
}
