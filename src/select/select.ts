import { lstat, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { HandpickError } from "../error.ts";
import { kindOf } from "../files/open-file.ts";
import { quote } from "../nix/format-error.ts";
import type { Pick } from "../nix/manifest.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { compareStorePaths, isDerivation, nameOf, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import { buildInstallable, looksInstallable } from "./installable.ts";
import { exists, locate, notAStorePath } from "./locate.ts";
import { readManifestFile, readPipedManifest } from "./manifest-file.ts";

export interface Selection {
  readonly picks: readonly Pick[];
  /** Those that a manifest names. */
  readonly declared: ReadonlySet<Pick>;
}

export interface SelectOptions {
  readonly store: Store;
  /** What relative inputs start from. */
  readonly cwd: string;
  /** The environment of `nix build`. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

const INPUTS_HINT = "Name a store path, a link to one such as ./result, a manifest or .#package.";

/** What an input stands for: the picks of a manifest, else paths that make one pick. */
interface Found {
  readonly input: string;
  readonly paths: readonly StorePath[];
  readonly picks?: readonly Pick[];
}

/**
 * Turns what users name into picks. An input is a store path or a path below one, a link to one, a
 * derivation (for its valid outputs), a manifest (for its picks), or an installable, which is built.
 * Equal picks are kept once. The paths of manifests are not looked at.
 *
 * @throws {HandpickError} `NOT_A_STORE_PATH` if an input is none of these, `PATH_NOT_VALID` if its
 *   path is not valid, `MANIFEST_INVALID` or `INSTALLABLE_FAILED`.
 */
export async function selectPicks(
  inputs: readonly string[],
  options: SelectOptions,
): Promise<Selection> {
  const found: Found[] = [];
  for (const input of inputs) {
    options.signal.throwIfAborted();
    found.push(await find(input, options));
  }
  await assertValid(found, options.store);
  const picks = found.flatMap(({ paths, picks = [toPick(paths)] }) => picks);
  return {
    picks: [...new Map(picks.map((pick) => [JSON.stringify(pick), pick])).values()],
    declared: new Set(found.flatMap((one) => one.picks ?? [])),
  };
}

/** The inputs in a text such as `nix path-info` prints: words between white space. */
export function parseStdin(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

async function find(input: string, options: SelectOptions): Promise<Found> {
  const { store, cwd } = options;
  if (input === "") throw notAStorePath(input, "it is empty", INPUTS_HINT);
  const file = resolve(cwd, input);
  if (looksInstallable(input) && !(await exists(file))) {
    const paths = await buildInstallable(input, { ...options, storeDir: store.storeDir });
    return { input, paths: [...new Set(paths)] };
  }
  const piped = await findPiped(input, file, options);
  if (piped !== undefined) return piped;
  const { path, real } = await locate(input, file, store);
  const status = await lstat(real).catch(() => undefined);
  const manifest = status?.isFile()
    ? await readManifestFile(real, { storeDir: store.storeDir, isStorePath: path !== undefined })
    : undefined;
  if (manifest !== undefined) return { input, paths: [], picks: manifest.picks };
  if (path === undefined) {
    const kind = status?.isDirectory() ? "folder" : "file";
    const reason = `it is a ${kind} outside of the Nix store and no manifest`;
    throw notAStorePath(input, reason, INPUTS_HINT);
  }
  return { input, paths: isDerivation(path) ? await outputsOf(input, path, store) : [path] };
}

/** A manifest that comes through a pipe; undefined if the file is a usual one, or none. */
async function findPiped(
  input: string,
  file: string,
  { store, signal }: SelectOptions,
): Promise<Found | undefined> {
  if (file.startsWith(`${store.storeDir}/`)) return undefined;
  const status = await stat(file).catch(() => undefined);
  if (status === undefined || status.isFile() || status.isDirectory()) return undefined;
  if (!status.isFIFO()) {
    const reason = `it is ${kindOf(status)}, and a manifest has to be a file or come through a pipe`;
    throw notAStorePath(input, reason, "Write the manifest to a file, and name that.");
  }
  const manifest = await readPipedManifest(file, { storeDir: store.storeDir, signal });
  if (manifest !== undefined) return { input, paths: [], picks: manifest.picks };
  const reason = "what came through that pipe is no manifest";
  throw notAStorePath(input, reason, "Store paths come through a pipe with --stdin.");
}

async function outputsOf(
  input: string,
  derivation: StorePath,
  store: Store,
): Promise<readonly StorePath[]> {
  const outputs = [...(await store.derivationOutputs(derivation)).values()];
  const valid = await store.validPaths(outputs.filter((path) => path !== undefined));
  if (valid.size === 0) throw notValid(input, "none of its outputs is valid", derivation);
  return [...valid].toSorted(compareStorePaths);
}

async function assertValid(found: readonly Found[], store: Store): Promise<void> {
  const valid = await store.validPaths(found.flatMap(({ paths }) => paths));
  for (const { input, paths } of found) {
    const lost = paths.find((path) => !valid.has(path));
    if (lost !== undefined) throw notValid(input, `${lost} is not valid in the Nix store`, lost);
  }
}

function notValid(input: string, reason: string, path: StorePath): HandpickError {
  return new HandpickError("PATH_NOT_VALID", `Cannot select ${quote(input)}: ${reason}`, {
    hint: `Build it, or get it with nix-store --realise ${path}.`,
  });
}

function toPick(paths: readonly StorePath[]): Pick {
  const name = paths[0] === undefined ? "" : packageNameOf(nameOf(paths[0]));
  return { name, paths, closure: "runtime", caches: undefined, exclude: [], pin: undefined };
}
