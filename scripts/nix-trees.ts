import { execFile } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { mkdir, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";

import { Unavailable, unpackDebian } from "./debian-packages.ts";

/** The versions of Nix that Debian has, and where. */
const SUITES = { "2.8": "bookworm", "2.26": "trixie", "2.34": "sid" } as const;

/** How the names of unfinished trees begin; the id of the process that makes them follows. */
const PARTIAL = ".partial-";

/** The oldest version supported, one between, and the newest: `2.34` stands for that or later. */
export type NixVersion = keyof typeof SUITES;

export const NIX_VERSIONS: readonly NixVersion[] = Object.keys(SUITES) as NixVersion[];

export interface NixBinOptions {
  /** Make the tree anew even if there is one. @default {false} */
  readonly fresh?: boolean;
  /** Hears what takes time. */
  readonly onStep?: (text: string) => void;
}

/**
 * A folder with the programs of a Nix, to come first on PATH. The machine's own Nix if it has that
 * version; else the one of a Debian suite, unpacked below {@link treesFolder} when first asked for.
 *
 * @throws {Unavailable} If it cannot be had on this machine.
 */
export async function nixBin(version: NixVersion, options: NixBinOptions = {}): Promise<string> {
  const own = await ownNix();
  if (own !== undefined && hasVersion(own.version, version)) return own.bin;
  const tree = join(treesFolder(), SUITES[version]);
  const bin = join(tree, "bin");
  if (!existsSync(tree) || options.fresh === true) {
    options.onStep?.(`Unpacking Nix ${version} of Debian ${SUITES[version]} into ${tree}`);
    await makeTree(SUITES[version], tree);
  }
  const found = await nixVersion(bin);
  if (compareVersions(found, version) < 0) {
    throw new Unavailable(`Debian ${SUITES[version]} has Nix ${found} only`);
  }
  return bin;
}

/** `HANDPICK_NIX_TREES`, or a folder of the user's cache; root's must be readable by others. */
function treesFolder(): string {
  const { HANDPICK_NIX_TREES: named, XDG_CACHE_HOME: xdg } = process.env;
  if (named) return named;
  const cache = process.getuid?.() === 0 ? "/var/cache" : join(homedir(), ".cache");
  return join(xdg || cache, "nix-handpick/nix-trees");
}

/** The Nix on the PATH. */
export async function ownNix(): Promise<{ bin: string; version: string } | undefined> {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const bin = folders.find((folder) => folder !== "" && existsSync(join(folder, "nix-store")));
  return bin === undefined ? undefined : { bin, version: await nixVersion(bin) };
}

/** Returns true if a version such as `2.8.1` belongs to a line such as `2.8`. */
export function hasVersion(found: string, line: NixVersion): boolean {
  return found === line || found.startsWith(`${line}.`);
}

/** The version of the Nix in a folder of programs. */
export async function nixVersion(bin: string): Promise<string> {
  // Not nix-store, which wants to open the store even for this.
  const { stdout } = await promisify(execFile)(join(bin, "nix-hash"), ["--version"]);
  const [, version] = /\) (\d+\.\d+\S*)/.exec(stdout) ?? [];
  if (version === undefined) throw new Error(`${bin}/nix-hash names no version: ${stdout}`);
  return version;
}

function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

/** Makes the tree elsewhere, tries it and renames it, so that a tree is whole or absent. */
async function makeTree(suite: string, tree: string): Promise<void> {
  const folder = dirname(tree);
  const partial = join(folder, `${PARTIAL}${process.pid}`);
  await removeLeftovers(folder);
  await mkdir(partial, { recursive: true });
  try {
    const made = join(partial, "made");
    await unpackDebian(suite, "nix-bin", made);
    await addPrograms(made);
    await nixVersion(join(made, "bin"));
    await rename(tree, join(partial, "old")).catch(ignoreAbsent);
    await rename(made, tree);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/** Removes what runs that were killed have left. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(PARTIAL) || isRunning(Number(name.slice(PARTIAL.length)))) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function ignoreAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

/**
 * Makes `bin/` with a script for each of Nix's programs, which are one binary under many names. It
 * needs neither root nor a mount: the tree's own loader is told where the tree's libraries are.
 */
async function addPrograms(tree: string): Promise<void> {
  const root = join(tree, "root");
  const [loader] = globSync("{usr/,}lib/*-linux-*/ld-linux-*.so.*", { cwd: root });
  if (loader === undefined) throw new Error(`${root} has no loader`);
  const libraries = basename(dirname(loader));
  const bin = join(tree, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "nix"), program(loader, libraries), { mode: 0o755 });
  const names = (await readdir(join(root, "usr/bin"))).filter((name) => name.startsWith("nix-"));
  for (const name of [...names, "build-remote"]) await symlink("nix", join(bin, name));
}

function program(loader: string, libraries: string): string {
  return `#!/bin/sh
tree=\${0%/bin/*}
# Nix would start its build hook without our loader.
export NIX_CONFIG="build-hook = $tree/bin/build-remote
$NIX_CONFIG"
exec "$tree/root/${loader}" --argv0 "\${0##*/}" \\
  --library-path "$tree/root/usr/lib/${libraries}:$tree/root/lib/${libraries}" \\
  "$tree/root/usr/bin/nix" "$@"
`;
}
