import type { CacheConfig, Config } from "../config/config.ts";
import { withoutSecrets } from "../config/credentials.ts";
import type { Pick } from "../nix/manifest.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import { type ClosedPick, closePicks } from "../select/closure.ts";
import { type RejectedInput, selectPicks } from "../select/select.ts";
import type { Store } from "../store/store.ts";
import { idleCaches } from "./idle-caches.ts";
import { cachesFor, type OpenOptions } from "./open-caches.ts";
import { rejectionError, rejectLost } from "./reject-lost.ts";

export interface GatherRequest extends OpenOptions {
  /** Paths, links, installables and manifests as the user gave them. */
  readonly inputs: readonly string[];
  /** Names or URLs of caches; none lets the picks and the configuration decide. */
  readonly to: readonly string[];
  /** True if `to` is all of the configuration, and names none by itself. @default {false} */
  readonly isAll?: boolean;
  /** Refuse all inputs if one of them cannot be selected. */
  readonly allOrNothing: boolean;
  readonly config: Config;
  readonly store: Store;
  readonly cwd: string;
  readonly signal: AbortSignal;
}

/** Picks with all they stand for, and the caches they go to. Dispose to let go of the paths. */
export interface Gathered extends Members, AsyncDisposable {
  readonly caches: readonly CacheConfig[];
  /** Inputs, or paths of manifests, that are left out since they cannot be selected. */
  readonly rejected: readonly RejectedInput[];
}

/**
 * Selects what the user gave and closes over references. The roots are protected from garbage collection
 * before they are read, until the result is disposed.
 *
 * @throws {HandpickError} If no input can be selected, or not all and that is asked for.
 */
export async function gather(request: GatherRequest): Promise<Gathered> {
  await using stack = new AsyncDisposableStack();
  const { config, store, to } = request;
  const env = withoutSecrets(request.env, config);
  const selected = await selectPicks(request.inputs, { ...request, env });
  const roots = new Set(selected.picks.flatMap((pick) => pick.paths));
  const { valid } = stack.use(await store.hold(roots));
  const { picks, declared, rejected } = await rejectLost(selected, { store, valid });
  const rejection = rejectionError(rejected);
  if (rejection !== undefined && (picks.length === 0 || request.allOrNothing)) throw rejection;
  const routes = new Map(
    picks.map((pick) => [pick, cachesFor(pick, { config, to, isDeclared: declared.has(pick) })]),
  );
  const caches = await usedCaches(uniqueCaches([...routes.values()].flat()), request);
  const isUsed = new Set(caches.map(({ name }) => name));
  const namesOf = (pick: Pick): string[] =>
    (routes.get(pick) ?? []).map(({ name }) => name).filter((name) => isUsed.has(name));
  const { planned, infos } = stack.use(await closeHeld(picks, { store, namesOf }));
  const kept = stack.move();
  return { planned, infos, caches, rejected, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** A pick with all paths it stands for. */
export interface PlannedPick extends Pick {
  /** Names of the caches it goes to. */
  readonly caches: string[];
  readonly members: ReadonlySet<StorePath>;
}

export interface Members {
  readonly planned: readonly PlannedPick[];
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
}

/** Members that are safe from garbage collection until this is disposed. */
export interface HeldPicks extends Members, AsyncDisposable {
  /** Paths that the picks' own do not keep alive. */
  readonly loose: ReadonlySet<StorePath>;
}

export interface CloseOptions {
  readonly store: Store;
  /** The caches that a pick goes to. */
  readonly namesOf: (pick: Pick) => string[];
}

/** Closes over references; the picks' own paths have to be held already, and remain the caller's. */
export async function closeHeld(
  picks: readonly Pick[],
  { store, namesOf }: CloseOptions,
): Promise<HeldPicks> {
  const { picks: closed, infos } = await closePicks(picks, store);
  const loose = looseRoots(closed, infos);
  const hold = await store.hold(loose);
  const planned = closed.map(({ pick, members }) => ({ ...pick, members, caches: namesOf(pick) }));
  return { planned, infos, loose, [Symbol.asyncDispose]: () => hold[Symbol.asyncDispose]() };
}

/** Finds the paths that the picks' own do not keep alive: the roots of the rest of build closures. */
function looseRoots(
  picks: readonly ClosedPick[],
  infos: ReadonlyMap<StorePath, PathInfo>,
): Set<StorePath> {
  const loose = picks.filter(({ pick }) => pick.closure === "build").map(({ members }) => members);
  const roots = new Set<StorePath>(loose.flatMap((members) => [...members]));
  for (const { path, references } of infos.values()) {
    for (const reference of references) if (reference !== path) roots.delete(reference);
  }
  return roots;
}

/** Each cache once, as optional only if it is so for every pick. */
function uniqueCaches(caches: readonly CacheConfig[]): CacheConfig[] {
  const unique = new Map<string, CacheConfig>();
  for (const cache of caches) {
    const optional = cache.optional && unique.get(cache.name)?.optional !== false;
    unique.set(cache.name, { ...cache, optional });
  }
  return [...unique.values()];
}

/** Leaves out optional caches without a credential, unless somebody named one or none is left. */
async function usedCaches(
  caches: readonly CacheConfig[],
  request: GatherRequest,
): Promise<readonly CacheConfig[]> {
  if (request.to.length > 0 && request.isAll !== true) return caches;
  const idle = await idleCaches(caches, request);
  const used = caches.filter(({ name }) => !idle.has(name));
  return used.length === 0 ? caches : used;
}
