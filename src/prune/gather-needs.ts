import { realpath, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";

import { HandpickError } from "../error.ts";
import { fileKind } from "../files/open-file.ts";
import { readFailure } from "../files/read-bounded.ts";
import { quote } from "../nix/format-error.ts";
import { type Manifest, type Pick, picksOf } from "../nix/manifest.ts";
import { type HashPart, hashPartOf, isStorePath, type StorePath } from "../nix/store-path.ts";
import { closePicks } from "../select/closure.ts";
import { readManifestFile, readPipedManifest } from "../select/manifest-file.ts";
import { isLedgerError, Ledger } from "../state/ledger.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { readWanted, type WantedLink } from "../state/wanted.ts";
import type { Store } from "../store/store.ts";
import { readSelection, validManifests } from "../sync/wanted-picks.ts";
import type { Needs } from "./decide.ts";

export interface NeedsRequest {
  /** The state folders of this machine. */
  readonly folders: readonly StateFolder[];
  /** Manifests of others, as the user named them. */
  readonly manifests: readonly string[];
  readonly store: Store;
  readonly cwd: string;
  readonly signal: AbortSignal;
}

/** A selection that is kept. */
export interface KeptSelection {
  readonly name: string;
  /** The state folder or the manifest that it comes from. */
  readonly from: string;
  readonly picks: number;
}

export interface GatheredNeeds extends Needs {
  readonly selections: readonly KeptSelection[];
  /** What the user should know before anything goes, in sentences. */
  readonly notes: readonly string[];
}

interface Found {
  readonly selections: KeptSelection[];
  readonly picks: Pick[];
  /** Builds that wait to be pushed. */
  readonly builds: StorePath[];
  readonly notes: string[];
}

/**
 * Finds all that is wanted on this machine and in manifests of others, whatever cache it is for. What is wrong with
 * any of it ends this: what that wants is not known.
 *
 * @throws {HandpickError} `USAGE` if nothing is wanted at all; `MANIFEST_INVALID` or `FILE_UNUSABLE` if something
 *   cannot be read.
 */
export async function gatherNeeds(request: NeedsRequest): Promise<GatheredNeeds> {
  const found: Found = { selections: [], picks: [], builds: [], notes: [] };
  for (const folder of request.folders) await readFolder(folder, found, request);
  for (const file of request.manifests) {
    const manifest = await readManifest(file, request);
    addManifest(manifest, { from: file, found });
  }
  if (found.picks.length === 0) {
    throw new HandpickError("USAGE", "Cannot prune: nothing is wanted, so nothing would be kept", {
      hint: "Declare what is wanted here, or name manifests with --manifests; handpick status lists selections.",
    });
  }
  const needs = await close(found, request.store);
  return { ...needs, selections: found.selections, notes: found.notes };
}

async function readFolder(folder: StateFolder, found: Found, request: NeedsRequest): Promise<void> {
  const { store } = request;
  const links = await readLinks(folder);
  const valid = await validManifests(links, store);
  for (const link of links) {
    const selection = await readSelection(link, valid, store);
    if (selection === undefined && link.leadsSomewhere) throw elsewhere(link, store);
    if (selection === undefined) {
      const text = `selection ${quote(link.name)} has ended, since its manifest is gone from the store: its packages are kept only if something else wants them`;
      found.notes.push(text);
      continue;
    }
    const { name, picks } = selection;
    found.selections.push({ name, from: folder.dir, picks: picks.length });
    found.picks.push(...picks);
  }
  try {
    using ledger = Ledger.openReadOnly(folder);
    found.builds.push(...(ledger?.builds() ?? []));
  } catch (error) {
    if (!isLedgerError(error) && !(error instanceof HandpickError)) throw error;
    found.notes.push(
      `the ledger in ${quote(folder.dir)} cannot be read: builds that wait there are not kept`,
    );
  }
}

async function readLinks(folder: StateFolder): Promise<WantedLink[]> {
  try {
    return await readWanted(folder, "read");
  } catch (error) {
    if (!(error instanceof HandpickError)) throw error;
    throw new HandpickError(error.code, error.message, {
      cause: error,
      hint: "Prune as a user who may read it; or name the folder to look at with HANDPICK_STATE_DIR, and the manifests of others with --manifests.",
    });
  }
}

/** It has not ended: another store than that of the machine was asked. */
function elsewhere({ name, target }: WantedLink, { description }: Store): HandpickError {
  const message = `Cannot read selection ${quote(name)}: ${target} is there, but the store does not have it (${description})`;
  return new HandpickError("PATH_NOT_VALID", message, {
    hint: "Name the store of this machine with --store, or leave that out.",
  });
}

function addManifest(
  manifest: Manifest,
  { from, found }: { readonly from: string; readonly found: Found },
): void {
  const picks = picksOf(manifest);
  found.selections.push({ name: manifest.name, from, picks: picks.length });
  found.picks.push(...picks);
}

/** @throws {HandpickError} `MANIFEST_INVALID` if it is none, `FILE_UNUSABLE` if it cannot be read. */
async function readManifest(
  input: string,
  { cwd, store: { storeDir }, signal }: NeedsRequest,
): Promise<Manifest> {
  const file = resolve(cwd, input);
  try {
    const status = await stat(file);
    if (status.isFIFO()) {
      return (await readPipedManifest(file, { storeDir, signal })) ?? throwNone(input);
    }
    if (!status.isFile()) throw unreadable(input, `it is ${fileKind(status)}`);
    // A link of another machine's state folder leads to its manifest.
    const real = await realpath(file);
    return (await readManifestFile(real, { storeDir, isStorePath: false })) ?? throwNone(input);
  } catch (error) {
    if (error instanceof HandpickError) throw error;
    signal.throwIfAborted();
    throw unreadable(input, readFailure(error), error);
  }
}

function throwNone(input: string): never {
  throw new HandpickError("MANIFEST_INVALID", `Cannot use ${quote(input)}: it is no manifest`, {
    hint: "Copy the file that a link in the folder wanted of the other machine leads to.",
  });
}

function unreadable(input: string, fault: string, cause?: unknown): HandpickError {
  const message = `Cannot read manifest ${quote(basename(input))} of --manifests: ${fault}`;
  return new HandpickError("FILE_UNUSABLE", message, {
    cause,
    hint: "Nothing is removed while it is not known what others want.",
  });
}

/** Adds what the store knows of references; narinfos in the cache lead on from there. */
async function close({ picks, builds, notes }: Found, store: Store): Promise<Needs> {
  const isHere = (path: StorePath): boolean => isStorePath(path, store.storeDir);
  const all = picks.flatMap((pick) => pick.paths);
  const closure = await store.closure(new Set([...all, ...builds].filter(isHere)));
  const paths = new Set<HashPart>([...all, ...builds, ...closure.keys()].map(hashPartOf));
  const deep = picks.filter((pick) => pick.closure === "build");
  for (const pick of deep) {
    for (const path of await buildMembers(pick, { store, closure, notes })) {
      paths.add(hashPartOf(path));
    }
  }
  return { paths, builds: new Set(deep.flatMap((pick) => pick.paths).map(hashPartOf)) };
}

interface BuildOptions {
  readonly store: Store;
  readonly closure: ReadonlyMap<StorePath, unknown>;
  readonly notes: string[];
}

/** The derivations of a path that is not here, or of one that is, may be gone: then the cache alone tells. */
async function buildMembers(
  pick: Pick,
  { store, closure, notes }: BuildOptions,
): Promise<Iterable<StorePath>> {
  const present = pick.paths.filter((path) => closure.has(path));
  if (present.length === 0) return [];
  try {
    const { picks } = await closePicks([{ ...pick, paths: present }], store);
    return picks.flatMap(({ members }) => [...members]);
  } catch (error) {
    if (!(error instanceof HandpickError) || error.code !== "PATH_NOT_VALID") throw error;
    notes.push(
      `derivations of pick ${quote(pick.name)} are gone from the store: what it was built with is kept as far as narinfos of the cache tell`,
    );
    return [];
  }
}
