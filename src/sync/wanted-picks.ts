import { type Failure, HandpickError, toFailure } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { type Pick, picksOf } from "../nix/manifest.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { isStorePath, nameOf, type StorePath } from "../nix/store-path.ts";
import { closePicks } from "../select/closure.ts";
import type { WantedLink } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { builtPicksBy } from "../run/built-picks.ts";
import type { SyncInput } from "./due.ts";
import { type IdleOptions, routePicks } from "../run/idle-caches.ts";
import { closeHeld, type HeldPicks, type PlannedPick } from "../run/gather.ts";
import { readStoreManifest } from "../run/store-manifest.ts";

/** The selection that a link leads to now. */
export interface WantedSelection {
  readonly name: string;
  readonly manifest: StorePath;
  readonly picks: readonly PlannedPick[];
}

/** All that is wanted, held against garbage collection until this is disposed. */
export interface Wanted extends HeldPicks {
  readonly selections: readonly WantedSelection[];
  /** Why a selection cannot be used, or not all of it, by its name. */
  readonly troubles: ReadonlyMap<string, Failure>;
  /** Other paths that are left out, in words. */
  readonly notes: readonly string[];
  /** Names of optional caches that this machine has no token for. */
  readonly idle: ReadonlySet<string>;
  /** Manifests that are gone: their selections ended. */
  readonly ended: readonly StorePath[];
  /** Paths of selections that are gone. */
  readonly gone: readonly StorePath[];
}

interface ReadOptions extends IdleOptions {
  readonly store: Store;
}

interface Found {
  readonly name: string;
  readonly manifest: StorePath;
  readonly picks: readonly Pick[];
}

/**
 * Reads what links and builds want. What is gone from the store has ended, without a word; what is wrong in one
 * selection does not keep back the others.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` if a pick names no cache and none is configured.
 */
export async function holdWanted(
  { links, builds }: Omit<SyncInput, "idle">,
  surroundings: ReadOptions,
): Promise<Wanted> {
  const { store } = surroundings;
  await using stack = new AsyncDisposableStack();
  const troubles = new Map<string, Failure>();
  const notes: string[] = [];
  const targets = manifestsOf(links, store);
  const manifests = stack.use(await store.hold(new Set([...targets, ...pathsIn(store, builds)])));
  const read: Found[] = [];
  for (const link of links) {
    try {
      const found = await readSelection(link, manifests.valid, store);
      if (found !== undefined) read.push(found);
    } catch (error) {
      troubles.set(link.name, toFailure(error));
    }
  }
  for (const path of builds.filter((path) => manifests.valid.has(path))) {
    const built = await readBuild(path, surroundings);
    read.push(built);
    // Parts left out of others were told when they were recorded.
    if (built.picks.length === 0) notes.push(...built.notes);
  }
  const paths = read.flatMap(({ picks }) => picks.flatMap((pick) => pick.paths));
  const { valid } = stack.use(await store.hold(new Set(paths)));
  const usable: Found[] = [];
  for (const one of read) {
    const present = one.picks.map((pick) => presentPart(pick, valid, (text) => notes.push(text)));
    const picks = await closable(present, store, (failure) => troubles.set(one.name, failure));
    usable.push({ ...one, picks });
  }
  const all = usable.flatMap(({ picks }) => picks);
  const { namesOf, idle } = await routePicks(all, surroundings);
  const held = stack.use(await closeHeld(all, { store, namesOf }));
  const { planned, infos, loose } = held;
  const kept = stack.move();
  return {
    selections: regroup(usable, planned),
    troubles,
    notes,
    idle,
    ended: targets.filter((path) => !manifests.valid.has(path)),
    gone: paths.filter((path) => !valid.has(path)),
    planned,
    infos,
    loose,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function readBuild(
  path: StorePath,
  { store, config }: ReadOptions,
): Promise<Found & { readonly notes: readonly string[] }> {
  const { picks, notes } = await builtPicksBy({ config, store, isRecorded: true })(path);
  return { name: packageNameOf(nameOf(path)), manifest: path, picks, notes };
}

/** Builds of another store may be recorded, where the state folder was used with that. */
function pathsIn(store: Store, paths: readonly StorePath[]): StorePath[] {
  return paths.filter((path) => isIn(store, path));
}

function isIn({ storeDir }: Store, path: string): path is StorePath {
  return isStorePath(path, storeDir);
}

/** The manifests that links lead to and that are there: the selections of the others have ended. */
export async function validManifests(
  links: readonly WantedLink[],
  store: Store,
): Promise<ReadonlySet<StorePath>> {
  return await store.validPaths(manifestsOf(links, store));
}

function manifestsOf(links: readonly WantedLink[], store: Store): StorePath[] {
  return links.flatMap(({ target }) => (isIn(store, target) ? [target] : []));
}

/**
 * Reads what a link wants; undefined if the manifest is gone: the selection ended.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if it leads to something else.
 */
export async function readSelection(
  { name, target }: WantedLink,
  valid: ReadonlySet<StorePath>,
  store: Store,
): Promise<Found | undefined> {
  if (!isIn(store, target)) throw noManifest(name, `found ${quote(target)}`);
  if (!valid.has(target)) return undefined;
  const manifest = await readStoreManifest(target, store);
  if (manifest === undefined) throw noManifest(name, `${target} is none`);
  return { name, manifest: target, picks: picksOf(manifest) };
}

function noManifest(name: string, found: string): HandpickError {
  return new HandpickError(
    "MANIFEST_INVALID",
    `Cannot use selection ${quote(name)}: expected a link to a manifest in the Nix store, ${found}`,
    { hint: `Declare the selection again, or remove wanted/${name} from the state folder.` },
  );
}

/**
 * Leaves out packages that were collected: they have ended. A pin is of the first path, so without that
 * one it stays as it is in the cache, which `onNote` hears: no other output takes its place.
 */
export function presentPart(
  pick: Pick,
  valid: ReadonlySet<StorePath>,
  onNote: (text: string) => void,
): Pick {
  const paths = pick.paths.filter((path) => valid.has(path));
  const [first] = pick.paths;
  const isLeft = pick.pin !== undefined && first !== undefined && !valid.has(first);
  if (isLeft && paths.length > 0) {
    onNote(`pin ${quote(pick.pin)} is left as it is: ${first} is not in the Nix store any more`);
  }
  return { ...pick, paths, pin: isLeft ? undefined : pick.pin };
}

/** Leaves out picks without paths, and those whose derivations are gone, which `onFailure` hears. */
export async function closable(
  picks: readonly Pick[],
  store: Store,
  onFailure: (failure: Failure) => void,
): Promise<Pick[]> {
  const usable: Pick[] = [];
  for (const pick of picks) {
    if (pick.paths.length === 0) continue;
    try {
      if (pick.closure === "build") await closePicks([pick], store);
      usable.push(pick);
    } catch (error) {
      if (!(error instanceof HandpickError && error.code === "PATH_NOT_VALID")) throw error;
      onFailure(toFailure(error));
    }
  }
  return usable;
}

/** Closing keeps the order of picks. */
function regroup(found: readonly Found[], planned: readonly PlannedPick[]): WantedSelection[] {
  let start = 0;
  return found.map(({ name, manifest, picks }) => {
    const mine = planned.slice(start, start + picks.length);
    start += picks.length;
    return { name, manifest, picks: mine };
  });
}
