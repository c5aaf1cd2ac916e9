import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { isDerivation, type StorePath } from "../nix/store-path.ts";
import type { FoundLog } from "../store/build-log.ts";
import type { Store } from "../store/store.ts";

/** How long builds took, in milliseconds, by derivation: undefined where the log does not tell, absent without a log. */
export type BuildTimes = ReadonlyMap<StorePath, number | undefined>;

const LOGS_AT_ONCE = 32;
/** Nix writes the log of a second build into the file of the first, which keeps its age. */
const LONGEST_MS = 24 * 3600_000;

/** Reads how long derivations took to build from the birth and the last write of their logs, which is rough. */
export async function readBuildTimes(
  derivations: ReadonlySet<StorePath>,
  store: Pick<Store, "findBuildLog">,
  signal: AbortSignal,
): Promise<BuildTimes> {
  const times = new Map<StorePath, number | undefined>();
  const known = [...derivations].filter(isDerivation);
  await forEachConcurrent(known, { limit: LOGS_AT_ONCE, signal }, async (derivation) => {
    const log = await store.findBuildLog(derivation);
    if (log !== undefined) times.set(derivation, timeOf(log));
  });
  return times;
}

function timeOf(log: FoundLog): number | undefined {
  if ("fault" in log) return undefined;
  const buildMs = log.writtenMs - log.birthMs;
  // A file system may not know births, and a copy is younger than its contents. Of a build that said nothing, a
  // log that is not compressed was never written to.
  const isKnown = log.birthMs > 0 && log.sizeBytes > 0 && buildMs >= 0 && buildMs <= LONGEST_MS;
  return isKnown ? Math.round(buildMs) : undefined;
}
