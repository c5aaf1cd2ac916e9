import { buildLogOf } from "../cache/binary-cache.ts";
import type { Companion } from "../cache/contract.ts";
import type { CacheConfig } from "../config/config.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { isDerivation } from "../nix/store-path.ts";
import { Budget } from "../budget.ts";
import type { PushOptions } from "../push/push-paths.ts";
import { type FoundLog, readBuildLog } from "../store/build-log.ts";
import type { Store } from "../store/store.ts";
import type { RealisationFiles } from "./realisation-files.ts";

export interface CompanionMakerOptions extends Pick<CacheConfig, "companions"> {
  readonly store: Pick<Store, "findBuildLog">;
  /** Undefined if the cache is to have none. */
  readonly realisations: RealisationFiles | undefined;
  readonly onLack: NonNullable<PushOptions["onLack"]>;
}

/** The longest log that goes with a path, in bytes; it is whole in memory. */
const LONGEST_LOG = 16 << 20;
/** For logs that are on their way to a cache, in bytes. */
const LOG_MEMORY = 64 << 20;
/** How many times the size of its bzip2 a log has, about. */
const LOG_RATIO = 16;
/** The bytes that a bzip2 needs, for which several run at once and not dozens. */
const BZIP2_MEMORY = 4 << 20;

/** Makes what a cache is to have with each path, besides its listing. */
export function companionMaker(
  options: CompanionMakerOptions,
): NonNullable<PushOptions["companionsOf"]> {
  const { companions, realisations } = options;
  const memory = new Budget(LOG_MEMORY);
  return async function* (info, signal) {
    if (companions.has("build-logs")) yield* buildLog(info, { ...options, memory, signal });
    yield* realisations?.companionsOf(info.path) ?? [];
  };
}

interface BuildLogOptions extends Pick<CompanionMakerOptions, "store" | "onLack"> {
  readonly memory: Budget;
  readonly signal: AbortSignal;
}

async function* buildLog(
  { path, deriver, ultimate }: PathInfo,
  { store, onLack, memory, signal }: BuildLogOptions,
): AsyncGenerator<Companion> {
  if (deriver === undefined || !isDerivation(deriver)) return;
  const lack = (why: string): void => onLack({ path, what: "build log", why });
  const found = await store.findBuildLog(deriver);
  if (found === undefined) {
    // The log of what was built elsewhere is there, if anywhere.
    if (ultimate) lack("the store has none");
    return;
  }
  const giveBack = await memory.take(memoryOf(found), signal);
  try {
    const log = await readBuildLog(found, { maxBytes: LONGEST_LOG, signal });
    if ("fault" in log) lack(log.fault);
    else yield buildLogOf(deriver, log.bytes);
  } finally {
    giveBack();
  }
}

/** Bytes that a log takes, about; of a compressed one that is known only when it is read. */
function memoryOf(found: FoundLog): number {
  if ("fault" in found) return 0;
  const { sizeBytes, isCompressed } = found;
  if (!isCompressed) return Math.min(sizeBytes, LONGEST_LOG);
  return BZIP2_MEMORY + Math.min(sizeBytes * LOG_RATIO, LONGEST_LOG);
}
