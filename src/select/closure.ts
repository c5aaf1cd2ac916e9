import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import type { Pick } from "../nix/manifest.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { isDerivation, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";

/** A pick and every path it stands for. */
export interface ClosedPick {
  readonly pick: Pick;
  readonly members: ReadonlySet<StorePath>;
}

export interface ClosedPicks {
  readonly picks: readonly ClosedPick[];
  /** The records of all members. */
  readonly infos: ReadonlyMap<StorePath, PathInfo>;
}

type Infos = Map<StorePath, PathInfo>;

/**
 * Adds to each pick what its `closure` asks for: `self` nothing, `runtime` all that is reachable
 * through references, `build` also the derivations behind its paths and what they were built from,
 * as far as that is still here.
 *
 * @throws {HandpickError} `PATH_NOT_VALID` if a path of a pick is not valid, or the derivation of
 *   one in a `build` closure.
 */
export async function closePicks(picks: readonly Pick[], store: Store): Promise<ClosedPicks> {
  const alone = picks.filter(({ closure }) => closure === "self");
  const deep = picks.filter(({ closure }) => closure !== "self");
  const infos: Infos = new Map([
    ...(await store.pathInfos(allPaths(alone))),
    ...(await store.closure(allPaths(deep))),
  ]);
  const closed: ClosedPick[] = [];
  for (const pick of picks) {
    const lost = pick.paths.find((path) => !infos.has(path));
    if (lost !== undefined)
      throw notValid(lost, pick, "Build it, or take it out of the selection.");
    closed.push({ pick, members: await membersOf(pick, infos, store) });
  }
  return { picks: closed, infos };
}

async function membersOf(pick: Pick, infos: Infos, store: Store): Promise<Set<StorePath>> {
  if (pick.closure === "self") return new Set(pick.paths);
  if (pick.closure === "runtime") return reachable(pick.paths, infos);
  const derivations = new Set(
    pick.paths.flatMap((path) => (isDerivation(path) ? path : (infos.get(path)?.deriver ?? []))),
  );
  await addClosure(derivations, infos, store);
  const lost = derivations.values().find((path) => !infos.has(path));
  if (lost !== undefined) {
    throw notValid(lost, pick, 'Instantiate it again, or take closure = "runtime".');
  }
  const sources = reachable(derivations, infos);
  const outputs = await inputOutputs(sources, infos, store);
  await addClosure(outputs, infos, store);
  return reachable([...pick.paths, ...sources, ...outputs], infos);
}

/** The valid outputs of every derivation that another one of `sources` takes as input. */
async function inputOutputs(
  sources: ReadonlySet<StorePath>,
  infos: Infos,
  store: Store,
): Promise<Set<StorePath>> {
  const inputs = new Set<StorePath>();
  for (const path of sources) {
    const references = isDerivation(path) ? (infos.get(path)?.references ?? []) : [];
    for (const reference of references) if (isDerivation(reference)) inputs.add(reference);
  }
  const outputs = new Set<StorePath>();
  for (const input of inputs) {
    const known = [...(await store.derivationOutputs(input)).values()];
    for (const path of known) if (path !== undefined) outputs.add(path);
  }
  return store.validPaths(outputs);
}

async function addClosure(roots: Iterable<StorePath>, infos: Infos, store: Store): Promise<void> {
  for (const [path, info] of await store.closure(roots)) infos.set(path, info);
}

function reachable(roots: Iterable<StorePath>, infos: Infos): Set<StorePath> {
  const found = new Set(roots);
  // A set visits what is added to it during the loop.
  for (const path of found) infos.get(path)?.references.forEach((next) => found.add(next));
  return found;
}

function allPaths(picks: readonly Pick[]): Set<StorePath> {
  return new Set(picks.flatMap(({ paths }) => paths));
}

function notValid(path: StorePath, pick: Pick, hint: string): HandpickError {
  const message = `Cannot select pick ${quote(pick.name)}: ${path} is not valid in the Nix store`;
  return new HandpickError("PATH_NOT_VALID", message, { hint });
}
