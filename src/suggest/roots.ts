import { lstat, readdir, readlink } from "node:fs/promises";
import { userInfo } from "node:os";
import { isAbsolute, join, sep } from "node:path";

import { forEachConcurrent } from "../cache/for-each-concurrent.ts";
import { HandpickError } from "../error.ts";
import { homeDirectory, userStateDir } from "../home-directory.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";

/** A name outside the store that keeps a path. */
export interface Root {
  readonly kind: "profile" | "link";
  /** That of the profile, such as `home-manager`, or the file of the link. */
  readonly name: string;
  /** Absent for the current generation of a profile, and for links. */
  readonly generation?: number;
  readonly target: StorePath;
}

export interface RootOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  readonly signal: AbortSignal;
  /** The folder below which links are handpick's own. */
  readonly stateFolder: string;
}

/** More names than any folder of profiles or links has. */
const MOST_NAMES = 10_000;
const LINKS_AT_ONCE = 32;
const GENERATION = /^(.+)-(\d{1,9})-link$/;
/** Profiles that have the source of nixpkgs. */
const CHANNELS = /^channels(?:-\d+-link)?$/;

/**
 * Finds what the profiles and generations of the user and of the system keep, and the result links of the user, or
 * of all users for root. A folder that may not be read, and a link that leads elsewhere than into the store, is
 * left out. Links are read and never opened, since they may be anybody's.
 */
export async function readRoots(store: Store, options: RootOptions): Promise<Root[]> {
  const folders = profileFolders(store, options.env);
  const profiles = await readProfiles(folders, store, options);
  const current = profiles.filter(({ generation }) => generation === undefined);
  const known = new Set(current.map(({ target }) => target));
  const activated = (await readActivated(store, options)).filter(
    ({ target }) => !known.has(target),
  );
  const links = await readLinks([...folders, options.stateFolder], store, options);
  return [...profiles, ...activated, ...links].toSorted(compareRoots);
}

function profileFolders({ stateDir }: Store, env: NodeJS.ProcessEnv): string[] {
  return [
    join(stateDir, "profiles"),
    join(stateDir, "profiles/per-user", userName()),
    join(userStateDir(env), "nix/profiles"),
  ];
}

/** Returns a name that no user has where no list of users has this one, as in a container. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return ".";
  }
}

async function readProfiles(
  folders: readonly string[],
  store: Store,
  { signal }: RootOptions,
): Promise<Root[]> {
  const roots: Root[] = [];
  for (const folder of new Set(folders)) {
    const files = (await namesIn(folder)).filter((name) => !CHANNELS.test(name));
    await forEachConcurrent(files, { limit: LINKS_AT_ONCE, signal }, async (file) => {
      const target = await targetOf(join(folder, file), store);
      const [, name = file, generation] = GENERATION.exec(file) ?? [];
      const which = generation === undefined ? {} : { generation: Number(generation) };
      if (target !== undefined) roots.push({ kind: "profile", name, target, ...which });
    });
  }
  return roots;
}

/** Reads the links to what runs now, which may be no generation that is left. */
async function readActivated(store: Store, { env }: RootOptions): Promise<Root[]> {
  const links = {
    "current-system": "/run/current-system",
    "booted-system": "/run/booted-system",
    "current-home": join(userStateDir(env), "home-manager/gcroots/current-home"),
    "nix-profile": join(homeDirectory(env), ".nix-profile"),
  };
  const roots: Root[] = [];
  for (const [name, file] of Object.entries(links)) {
    const target = await targetOf(file, store);
    if (target !== undefined) roots.push({ kind: "profile", name, target });
  }
  return roots;
}

/** Reads the links that Nix was told to keep, such as `./result`, but for those in `folders`. */
async function readLinks(
  folders: readonly string[],
  store: Store,
  { uid, signal }: RootOptions,
): Promise<Root[]> {
  const auto = join(store.stateDir, "gcroots/auto");
  const roots: Root[] = [];
  const names = await namesIn(auto);
  await forEachConcurrent(names, { limit: LINKS_AT_ONCE, signal }, async (entry) => {
    const name = await readlink(join(auto, entry)).catch(() => undefined);
    if (name === undefined || !isAbsolute(name)) return;
    if (folders.some((folder) => name.startsWith(folder + sep))) return;
    const status = await lstat(name).catch(() => undefined);
    if (status === undefined || (uid !== 0 && status.uid !== uid)) return;
    const target = await targetOf(name, store);
    if (target !== undefined) roots.push({ kind: "link", name, target });
  });
  return roots;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return (await readdir(folder).catch(() => [])).slice(0, MOST_NAMES);
}

async function targetOf(file: string, store: Store): Promise<StorePath | undefined> {
  try {
    return await store.resolve(file);
  } catch (error) {
    if (error instanceof HandpickError) return undefined;
    throw error;
  }
}

function compareRoots(a: Root, b: Root): number {
  if (a.kind !== b.kind) return a.kind === "profile" ? -1 : 1;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return (b.generation ?? Infinity) - (a.generation ?? Infinity) || 0;
}
