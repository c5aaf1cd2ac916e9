import type { CacheInfo } from "../cache/contract.ts";
import type { Action, Plan } from "../plan/plan.ts";
import type { Store } from "../store/store.ts";
import { noteOf, type RunEvent } from "./events.ts";
import { assertWritable, type OpenedCache } from "./open-caches.ts";
import { putAll, RealisationFiles } from "./realisation-files.ts";
import { signOptions } from "./signatures.ts";

interface PlannedCache extends OpenedCache {
  readonly plan: Plan;
}

/** Reads the realisations of all paths that readers have, or will have; undefined if the cache gets none. */
export async function readRealisations(
  { cache, config, credentials, plan }: PlannedCache,
  { store, onEvent }: { readonly store: Store; readonly onEvent: (event: RunEvent) => void },
): Promise<RealisationFiles | undefined> {
  if (!config.companions.has("realisations")) return undefined;
  const paths = plan.paths.filter(({ action }) => action === "push" || isThere(action));
  const found = await store.realisations(paths.map(({ path }) => path));
  if (!("fault" in found)) {
    return new RealisationFiles(found, signOptions({ cache, config, credentials }));
  }
  onEvent(noteOf(cache.name, `no realisations go there: ${found.fault}`));
  return undefined;
}

export interface CompleteOptions {
  /** The answer of the cache, if it was asked. */
  readonly info: CacheInfo | undefined;
  readonly store: Store;
  readonly signal: AbortSignal;
}

/** Gives a cache the realisations that it lacks of paths that were there before; see {@link RealisationFiles.missing}. */
export async function completeRealisations(
  realisations: RealisationFiles,
  { plan, ...opened }: PlannedCache,
  { info, store, signal }: CompleteOptions,
): Promise<void> {
  const { companions } = opened.cache;
  if (companions === undefined) return;
  const paths = plan.paths.filter(({ action }) => isThere(action)).map(({ path }) => path);
  const files = await realisations.missing(paths, companions, signal);
  if (files.length === 0) return;
  if (info === undefined) assertWritable(opened, await opened.cache.info(signal), store.storeDir);
  await putAll(files, companions, signal);
}

function isThere(action: Action): boolean {
  return action === "present" || action === "upstream";
}
