import type { CacheInfo } from "../cache/contract.ts";
import type { CacheConfig, Config } from "../config/config.ts";
import { type Failure, isOutage } from "../error.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { makePlan } from "../plan/make-plan.ts";
import type { Plan } from "../plan/plan.ts";
import { CachePacker, type CachePackerOptions } from "../push/cache-packer.ts";
import { pushPaths } from "../push/push-paths.ts";
import type { SharedPacker } from "../push/shared-packer.ts";
import type { Store } from "../store/store.ts";
import type { CompanionLack } from "../push/events.ts";
import { askCache, type AskOptions } from "./ask-cache.ts";
import { companionMaker } from "./companion-maker.ts";
import { lackLines } from "./companion-lacks.ts";
import { completeRealisations, readRealisations } from "./cache-realisations.ts";
import { noteOf, type RunEvent } from "./events.ts";
import type { Members, PlannedPick } from "./gather.ts";
import {
  assertWritable,
  compressionFor,
  infoOf,
  type OpenedCache,
  openConfigured,
} from "./open-caches.ts";
import { orAborted } from "../or-aborted.ts";
import { pinPicks } from "./pins.ts";
import { planEvents } from "./plan-events.ts";
import type { RealisationFiles } from "./realisation-files.ts";
import { withMissingToken } from "./with-missing-token.ts";
import { signaturesOf, signOptions, unsignedWarning } from "./signatures.ts";

export interface DecideOptions extends AskOptions {
  readonly config: Config;
}

/** One cache in a run: opened, asked and decided about, with nothing sent yet. */
export interface Decided extends OpenedCache {
  /** The picks that go there. */
  readonly picks: readonly PlannedPick[];
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
  readonly plan: Plan;
  /** About credentials and upstreams. An error of the cache repeats those that may be its reason. */
  readonly warnings: readonly string[];
}

export interface CacheRunOptions extends DecideOptions {
  readonly store: Store;
  /** Told of each warning once the cache has answered. */
  readonly onWarning: (text: string) => void;
  readonly onEvent: (event: RunEvent) => void;
  /**
   * Sees the decisions before anything is sent.
   *
   * @returns The part to carry out now; all of it by default.
   */
  readonly onDecided?: (decided: Decided) => Order | Promise<Order>;
  /** Packs for all caches of the run. */
  readonly packer: SharedPacker;
}

/** The decisions to carry out. */
export interface Order {
  readonly plan: Plan;
  /** True to tell of it and send nothing. @default {true if `on-hole = "fail"` and something is held} */
  readonly isCalledOff?: boolean;
}

/**
 * Brings one cache up to date, the one way for `push`, `sync`, `exec` and `watch`:
 *
 *     open -> ask cache and upstreams -> decide -> inspect the cache -> push -> pin
 *
 * @returns The failure that kept the cache from all of it, if it stopped answering on the way.
 * @throws {HandpickError} If it cannot be opened or asked, or refuses us.
 */
export async function runCache(
  config: CacheConfig,
  members: Members,
  options: CacheRunOptions,
): Promise<Failure | undefined> {
  // From here on what others pack is kept for this cache: it takes a while until it is ready.
  await using packer = new CachePacker(options.packer, packerOptionsOf(config));
  // A file of credentials may be a pipe that nobody writes to.
  const opened = await orAborted(
    openConfigured(config, { ...options, storeDir: options.store.storeDir }),
    options.signal,
  );
  await using _cache = opened.cache;
  return await runPacking(opened, members, { ...options, packer });
}

/** Does the same with a cache that is open, and remains so. */
export async function runOpened(
  opened: OpenedCache,
  members: Members,
  options: CacheRunOptions,
): Promise<Failure | undefined> {
  await using packer = new CachePacker(options.packer, packerOptionsOf(opened.config));
  return await runPacking(opened, members, { ...options, packer });
}

/** The options of one cache that has its place among those that paths are packed for. */
type PackingOptions = Omit<CacheRunOptions, "packer"> & { readonly packer: CachePacker };

function packerOptionsOf({ companions }: CacheConfig): CachePackerOptions {
  return { listings: companions.has("listings") };
}

async function runPacking(
  opened: OpenedCache,
  members: Members,
  options: PackingOptions,
): Promise<Failure | undefined> {
  const decided = await decide(opened, members, options);
  const info = await inspect(decided, options);
  for (const text of decided.warnings) options.onWarning(text);
  const order = (await options.onDecided?.(decided)) ?? { plan: decided.plan };
  return await carryOut({ ...decided, ...order, info }, options);
}

/** Asks one opened cache and decides for it alone. */
export async function decide(
  opened: OpenedCache,
  { planned, infos }: Members,
  options: DecideOptions,
): Promise<Decided> {
  const picks = planned.filter((pick) => pick.caches.includes(opened.config.name));
  const answer = await askCache(opened, { planned: picks, infos }, options);
  const { rules } = options.config;
  const plan = makePlan({ closed: picks, infos, rules, caches: [answer] });
  const warnings = [
    ...opened.credentials.warnings,
    ...answer.warnings,
    ...unsignedWarning({ plan, infos }, opened),
  ];
  return { ...opened, picks, infos, plan, warnings };
}

/** Looks at a cache that lacks something; another is asked nothing more. */
async function inspect(
  { plan, ...opened }: Decided,
  { signal, store }: Pick<CacheRunOptions, "signal" | "store">,
): Promise<CacheInfo | undefined> {
  if (plan.paths.every(({ action }) => action !== "push")) return undefined;
  const info = await infoOf(opened, signal);
  assertWritable(opened, info, store.storeDir);
  return info;
}

/** Returns true if a path is held and nothing is to be sent for that. */
export function isHoleFailing({ paths }: Plan, { rules }: Config): boolean {
  return rules.onHole === "fail" && paths.some(({ action }) => action === "held");
}

interface Ordered extends Decided, Order {
  /** Known where something is to be sent. */
  readonly info: CacheInfo | undefined;
}

async function carryOut(
  ordered: Ordered,
  { onEvent, ...options }: PackingOptions,
): Promise<Failure | undefined> {
  const { plan } = ordered;
  for (const event of planEvents(ordered.cache.name, plan)) onEvent(event);
  if (ordered.isCalledOff ?? isHoleFailing(plan, options.config)) return undefined;
  const unavailable = new Set<StorePath>();
  for (const { path, action } of plan.paths) {
    if (action === "held" || action === "excluded") unavailable.add(path);
  }
  let outage: Failure | undefined;
  const watch = (event: RunEvent): void => {
    if (event.event === "failed" || event.event === "held") unavailable.add(event.path);
    if (event.event === "failed" && isOutage(event.error.code)) outage = event.error;
    onEvent(event);
  };
  const realisations = await readRealisations(ordered, { ...options, onEvent });
  await withMissingToken(ordered, () =>
    push(ordered, { ...options, realisations, onEvent: watch }),
  );
  if (outage === undefined && realisations !== undefined) {
    await completeRealisations(realisations, ordered, { ...options, info: ordered.info });
  }
  await pinPicks(ordered, { unavailable, onEvent: watch, signal: options.signal });
  return outage;
}

async function push(
  { cache, config, credentials, info, infos, plan }: Ordered,
  options: Pick<PackingOptions, "store" | "signal" | "onEvent" | "packer"> & {
    readonly realisations: RealisationFiles | undefined;
  },
): Promise<void> {
  const { store, signal, onEvent, packer, realisations } = options;
  const tasks = plan.paths.flatMap(({ path, action }) => {
    const record = action === "push" ? infos.get(path) : undefined;
    return record === undefined ? [] : [{ info: record, physicalPath: store.physicalPath(path) }];
  });
  const signing = signOptions({ cache, config, credentials });
  const lacks: CompanionLack[] = [];
  const onLack = (lack: CompanionLack): void => void lacks.push(lack);
  const { companions } = config;
  await pushPaths(tasks, {
    cache,
    packer,
    compression: compressionFor(config, info),
    level: config.compressionLevel,
    signaturesOf: (record) => signaturesOf(record, signing),
    // No key of the cache, and none of ours: it may well want signatures, and says so only at the end.
    isDoubtful: signing.signingKeys.length === 0 && info?.publicKeys?.length === 0,
    signal,
    onEvent,
    companionsOf: companionMaker({ companions, store, realisations, onLack }),
    onLack,
  });
  for (const line of lackLines(lacks)) onEvent(noteOf(cache.name, line));
}
