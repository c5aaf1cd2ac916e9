import { buildLogOf, realisationOf } from "../cache/binary-cache.ts";
import type { Companion } from "../cache/contract.ts";
import type { CacheConfig } from "../config/config.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { Realisation, RealisationId } from "../nix/realisation.ts";
import { isDerivation, type StorePath } from "../nix/store-path.ts";
import { Budget } from "../push/budget.ts";
import type { PushOptions } from "../push/push-paths.ts";
import { type FoundLog, readBuildLog } from "../store/build-log.ts";
import type { Store } from "../store/store.ts";
import { realisationSignatures, type SignOptions } from "./signatures.ts";

export interface CompanionMakerOptions extends Pick<CacheConfig, "companions"> {
  readonly store: Pick<Store, "findBuildLog" | "realisations">;
  /** The paths that will be asked for. */
  readonly paths: readonly StorePath[];
  readonly signing: SignOptions;
  readonly onLack: NonNullable<PushOptions["onLack"]>;
  readonly onNote: (text: string) => void;
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
export async function companionMaker(
  options: CompanionMakerOptions,
): Promise<NonNullable<PushOptions["companionsOf"]>> {
  const { companions } = options;
  const memory = new Budget(LOG_MEMORY);
  const realisationsOf = companions.has("realisations") ? await realisationMaker(options) : none;
  return async function* (info, signal) {
    if (companions.has("build-logs")) yield* buildLog(info, { ...options, memory, signal });
    yield* realisationsOf(info.path);
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

type RealisationMaker = (path: StorePath) => Iterable<Companion>;

const none: RealisationMaker = () => [];

async function realisationMaker({
  store,
  paths,
  signing,
  onNote,
}: CompanionMakerOptions): Promise<RealisationMaker> {
  const found = await store.realisations(paths);
  if ("fault" in found) {
    onNote(`no realisations go there: ${found.fault}`);
    return none;
  }
  const byPath = Map.groupBy(found.values(), ({ path }) => path);
  const stored = new Set<RealisationId>();
  return function* (path) {
    const wanted = new Set(byPath.get(path));
    // Readers need those as well, and the path of one may be there already, without it.
    for (const { dependencies } of wanted) {
      for (const id of dependencies.keys()) {
        const dependency = found.get(id);
        if (dependency !== undefined && !stored.has(id)) wanted.add(dependency);
      }
    }
    for (const realisation of [...wanted].toReversed()) {
      yield realisationOf(signed(realisation, signing));
      stored.add(realisation.id);
    }
  };
}

function signed(realisation: Realisation, signing: SignOptions): Realisation {
  return { ...realisation, signatures: realisationSignatures(realisation, signing) };
}
