import type { CacheConfig, Config } from "../config/config.ts";
import type { HandpickError } from "../error.ts";
import { withoutSecrets } from "../config/credentials.ts";
import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { compareStorePaths, isDerivation, type StorePath } from "../nix/store-path.ts";
import { orAborted } from "../or-aborted.ts";
import { reach } from "../plan/chain.ts";
import { exclusionCheck, needsOf } from "../plan/needs.ts";
import { refOf } from "../plan/plan.ts";
import type { Members, PlannedPick } from "../run/gather.ts";
import { infoOf, openConfigured, type OpenedCache, type OpenOptions } from "../run/open-caches.ts";
import { withMissingToken } from "../run/with-missing-token.ts";
import type { Hole } from "./fault.ts";
import { openSources, type Sources } from "./open-sources.ts";
import { patiently } from "./patiently.ts";
import { proveNar } from "./prove-nar.ts";
import { realise } from "./realise.ts";
import { type PickRoots, type Unserved, unserved } from "./unserved.ts";
import { walk, type Walked } from "./walk.ts";

/** NARs that are read at once: each takes a connection and some threads. */
const NARS_AT_ONCE = 4;

export interface VerifyOptions extends OpenOptions {
  readonly config: Config;
  readonly signal: AbortSignal;
  /** Keys that readers have besides those that the cache tells, `name:base64` each. */
  readonly publicKeys: readonly string[];
  /** How many NARs of the cache to read to their end, chosen by chance; Infinity for all. @default {0} */
  readonly proofs?: number;
  /** True to have Nix fetch it all into an empty store. @default {false} */
  readonly realises?: boolean;
  /** Told what was looked at so far. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Uniform in [0, 1). @default {Math.random} */
  readonly random?: () => number;
}

export interface Progress {
  readonly cache: string;
  readonly task: "paths" | "NARs";
  readonly done: number;
  readonly all: number;
}

/** The picks of one cache as a fresh machine gets them. */
export interface Verdict {
  readonly cache: string;
  /** Where readers find it. */
  readonly readUrl: string;
  /** False where nobody says which keys these are: then any signature counts. */
  readonly areKeysKnown: boolean;
  /** True if the cache answers 401 to its readers, who have no password as far as its table says. */
  readonly wantsPassword: boolean;
  /** URLs of upstreams that serve paths, and whose keys nobody says: any signature counts there, too. */
  readonly keylessUpstreams: readonly string[];
  /** The picks that were looked at. */
  readonly picks: readonly PickRoots[];
  /** How many paths come from the cache, and how many from upstreams. */
  readonly served: { readonly own: number; readonly upstream: number };
  /** How many NARs were read to their end, and are right. */
  readonly proved: number;
  /** Undefined where Nix was not asked to fetch it; else why Nix failed, or nothing. */
  readonly realised: { readonly failure: string | undefined } | undefined;
  readonly unserved: readonly Unserved[];
  /** All that the picks lack, in the order of paths. */
  readonly holes: readonly Hole[];
  /** About upstreams that gave no answer. */
  readonly silent: readonly HandpickError[];
}

/**
 * Finds out what a fresh machine would get of the picks that go to a cache, reading as it would: from the cache's
 * address for readers and from upstreams, with the keys of readers, and no credentials unless the cache is private.
 *
 * @throws {HandpickError} If the cache gives no answer.
 */
export async function verifyCache(
  config: CacheConfig,
  members: Members,
  options: VerifyOptions,
): Promise<Verdict> {
  const { signal } = options;
  const opened = await orAborted(openConfigured(config, options), signal);
  await using _cache = opened.cache;
  const info = await withMissingToken(opened, () => infoOf(opened, signal));
  await using sources = openSources(opened, info, options);
  const picks = rootsOf(opened, members, options.config);
  const walked = await walkAll(picks, { sources, members, cache: config.name, options });
  const proof = await prove(walked, sources, { cache: config.name, ...options });
  const holes = new Map([...walked.holes, ...proof.holes]);
  const referencesOf = (path: StorePath): readonly StorePath[] =>
    (walked.served.get(path)?.narInfo ?? members.infos.get(path))?.references ?? [];
  const lacking = unserved(picks, holes, referencesOf);
  const { own } = sources;
  const realised =
    options.realises === true ? await realiseAll(picks, sources, options) : undefined;
  const serving = new Set([...walked.served.values()].map(({ source }) => source));
  const fromOwn = [...walked.served.values()].filter(({ source }) => source === own).length;
  return {
    cache: config.name,
    readUrl: info.readUrl,
    areKeysKnown: own.keys !== undefined,
    wantsPassword: own.reader.wantsPassword === true,
    keylessUpstreams: sources.upstreams
      .filter((source) => source.keys === undefined && serving.has(source))
      .map(({ reader }) => reader.url),
    picks,
    served: { own: fromOwn - proof.holes.size, upstream: walked.served.size - fromOwn },
    proved: proof.proved,
    realised,
    unserved: lacking,
    holes: [...holes.values()].toSorted((a, b) => compareStorePaths(a.path, b.path)),
    silent: [...walked.silent.values()],
  };
}

/** The picks of a cache, with what its readers are to get: rules of their own leave out what nobody expects. */
function rootsOf(
  { config: { name } }: OpenedCache,
  { planned, infos }: Members,
  { rules }: Config,
): PickRoots[] {
  const needs = needsOf(name, planned);
  const isExcluded = exclusionCheck(rules);
  const isExpected = (path: StorePath): boolean => {
    const info = infos.get(path);
    return info === undefined || (isExcluded(info) ?? needs.get(path)?.excluded) === undefined;
  };
  return planned
    .filter(({ caches }) => caches.includes(name))
    .map((pick) => ({
      pick: refOf(pick),
      roots: [...startsOf(pick)].filter(isExpected),
    }));
}

function startsOf({ closure, paths, members }: PlannedPick): Iterable<StorePath> {
  return closure === "build" ? members : paths;
}

interface WalkAll {
  readonly sources: Sources;
  readonly members: Members;
  readonly cache: string;
  readonly options: VerifyOptions;
}

/** Asks for all that the store knows the picks to need at once, and then for what only narinfos name. */
async function walkAll(picks: readonly PickRoots[], around: WalkAll): Promise<Walked> {
  const { sources, members, cache, options } = around;
  const roots = picks.flatMap((pick) => [...pick.roots]);
  const known = reach(roots, (path) => members.infos.get(path)?.references ?? []);
  const walked = await walk(known.keys(), [sources.own, ...sources.upstreams], {
    signal: options.signal,
    onPath: (done, all) => options.onProgress?.({ cache, task: "paths", done, all }),
  });
  const failure = walked.silent.get(sources.own.reader.url);
  if (failure !== undefined) throw failure;
  return walked;
}

/** Reads as many NARs of the cache as are wanted, to their end. */
async function prove(
  { served }: Walked,
  { own }: Sources,
  options: VerifyOptions & { readonly cache: string },
): Promise<{ readonly proved: number; readonly holes: ReadonlyMap<StorePath, Hole> }> {
  const { signal, proofs = 0, random = Math.random, onProgress, cache } = options;
  const candidates = [...served].filter(([, { source }]) => source === own);
  const chosen = proofs >= candidates.length ? candidates : sample(candidates, proofs, random);
  const holes = new Map<StorePath, Hole>();
  let done = 0;
  await forEachConcurrent(chosen, { limit: NARS_AT_ONCE, signal }, async ([path, one], signal) => {
    const { narInfo, source } = one;
    const detail = await patiently(signal, () => proveNar(narInfo, source.reader, signal));
    const fault = { code: "nar-damaged", server: own.reader.url, detail } as const;
    if (detail !== undefined) holes.set(path, { path, faults: [{ ...fault, detail }] });
    done++;
    onProgress?.({ cache, task: "NARs", done, all: chosen.length });
  });
  return { proved: chosen.length - holes.size, holes };
}

async function realiseAll(
  picks: readonly PickRoots[],
  { own, upstreams, publicKeys, netrc }: Sources,
  { env, config, signal }: VerifyOptions,
): Promise<{ readonly failure: string | undefined }> {
  const roots = picks.flatMap((pick) => [...pick.roots]);
  // To realise a derivation is to have all of its outputs, and nobody picked all.
  const paths = new Set(roots.filter((path) => !isDerivation(path)));
  const substituters = [own, ...upstreams].map(({ reader }) => reader.url);
  const around = { substituters, publicKeys, netrc, signal };
  return { failure: await realise(paths, { ...around, env: withoutSecrets(env, config) }) };
}

function sample<T>(all: readonly T[], size: number, random: () => number): T[] {
  const left = [...all];
  return Array.from({ length: size }, () =>
    left.splice(Math.floor(random() * left.length), 1),
  ).flat();
}
