import { lstat, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { type ErrorCode, HandpickError } from "../error.ts";
import { fileKind } from "../files/open-file.ts";
import { quote } from "../nix/format-error.ts";
import { type Pick, picksOf } from "../nix/manifest.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { compareStorePaths, isDerivation, nameOf, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import { buildInstallable, buildOutputs, looksInstallable } from "./installable.ts";
import { exists, locate, notAStorePath } from "./locate.ts";
import { readManifestFile, readPipedManifest } from "./manifest-file.ts";
import { type OutputChoice, parseOutputChoice } from "./output-choice.ts";

export interface Selection {
  readonly picks: readonly Pick[];
  /** Picks that a manifest names. */
  readonly declared: ReadonlySet<Pick>;
  /** Inputs that stand for nothing that can be pushed. */
  readonly rejected: readonly RejectedInput[];
}

/** An input, or a path of a manifest, that cannot be selected. */
export interface RejectedInput {
  readonly input: string;
  readonly error: HandpickError;
}

export interface SelectOptions {
  readonly store: Store;
  /** The folder that relative inputs start from. */
  readonly cwd: string;
  /** The environment of `nix build`. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

const INPUTS_HINT = "Name a store path, a link to one such as ./result, a manifest or .#package.";

/** The meaning of an input: the picks of a manifest, else paths that make one pick. */
interface Found {
  readonly input: string;
  readonly paths: readonly StorePath[];
  readonly picks?: readonly Pick[];
}

/**
 * Turns what users name into picks. An input is a store path or a path below one, a link to one, a
 * derivation (for its valid outputs), a manifest (for its picks), or an installable, which is built.
 * Equal picks are kept once. The paths of manifests are not looked at. An input that is none of these
 * is rejected with `NOT_A_STORE_PATH`, `PATH_NOT_VALID`, `MANIFEST_INVALID`, `INSTALLABLE_FAILED` or
 * what its files say, and keeps no other from being selected.
 */
export async function selectPicks(
  inputs: readonly string[],
  options: SelectOptions,
): Promise<Selection> {
  const found: Found[] = [];
  const rejected: RejectedInput[] = [];
  for (const input of new Set(inputs)) {
    options.signal.throwIfAborted();
    try {
      found.push(await find(input, options));
    } catch (error) {
      if (!(error instanceof HandpickError) || !OF_ONE_INPUT.has(error.code)) throw error;
      rejected.push({ input, error });
    }
  }
  const valid = await options.store.validPaths(found.flatMap(({ paths }) => paths));
  const usable = found.filter(({ input, paths }) => {
    const lost = paths.find((path) => !valid.has(path));
    if (lost === undefined) return true;
    const error = notValid(input, `${lost} is not valid in the Nix store`, lost);
    rejected.push({ input, error });
    return false;
  });
  const picks = usable.flatMap(({ paths, picks = [toPick(paths)] }) => picks);
  return {
    picks: [...new Map(picks.map((pick) => [JSON.stringify(pick), pick])).values()],
    declared: new Set(usable.flatMap((one) => one.picks ?? [])),
    rejected: inOrder(rejected, inputs),
  };
}

function inOrder(rejected: readonly RejectedInput[], inputs: readonly string[]): RejectedInput[] {
  const places = new Map(inputs.map((input, place) => [input, place]));
  const placeOf = ({ input }: RejectedInput): number => places.get(input) ?? 0;
  return rejected.toSorted((one, other) => placeOf(one) - placeOf(other));
}

/** Codes that say something about one input, and nothing about the store as a whole. */
const OF_ONE_INPUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "NOT_A_STORE_PATH",
  "PATH_NOT_VALID",
  "MANIFEST_INVALID",
  "INSTALLABLE_FAILED",
  "FILE_UNUSABLE",
  "STORE_PATH_GONE",
  "STORE_PATH_CORRUPT",
  "STORE_PATH_UNREADABLE",
]);

/** The inputs in a text such as `nix path-info` prints: words between white space. */
export function parseStdin(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

async function find(input: string, options: SelectOptions): Promise<Found> {
  const { store, cwd } = options;
  if (input === "") throw notAStorePath(input, "it is empty", INPUTS_HINT);
  const file = resolve(cwd, input);
  const isThere = await exists(file);
  const choice = isThere ? undefined : parseOutputChoice(input);
  if (looksInstallable(input) && !isThere) {
    const build = { ...options, storeDir: store.storeDir };
    const paths = await (choice ? buildOutputs(choice, build) : buildInstallable(input, build));
    return { input, paths: [...new Set(paths)] };
  }
  if (choice !== undefined) return { input, paths: await chosenOutputs(input, choice, options) };
  const piped = await findPiped(input, file, options);
  if (piped !== undefined) return piped;
  const { path, real } = await locate(input, file, store);
  const status = await lstat(real).catch(() => undefined);
  const manifest = status?.isFile()
    ? await readManifestFile(real, { storeDir: store.storeDir, isStorePath: path !== undefined })
    : undefined;
  if (manifest !== undefined) return { input, paths: [], picks: picksOf(manifest) };
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
    const reason = `it is ${fileKind(status)}, and a manifest has to be a file or come through a pipe`;
    throw notAStorePath(input, reason, "Write the manifest to a file, and name that.");
  }
  const manifest = await readPipedManifest(file, { storeDir: store.storeDir, signal });
  if (manifest !== undefined) return { input, paths: [], picks: picksOf(manifest) };
  const reason = "the text from that pipe is no manifest";
  throw notAStorePath(input, reason, "Store paths come through a pipe with --stdin.");
}

/** The outputs of `x.drv^out` and the like; all that are chosen have to be here, but for those of `^*`. */
async function chosenOutputs(
  input: string,
  { base, outputs }: OutputChoice,
  { store, cwd }: SelectOptions,
): Promise<readonly StorePath[]> {
  const { path } = await locate(input, resolve(cwd, base), store);
  if (path === undefined || !isDerivation(path)) {
    const reason = `${quote(base)} is no derivation, and only those have outputs to choose`;
    throw notAStorePath(input, reason, "Name the output itself, or a .drv before the ^.");
  }
  if (outputs === "all") return outputsOf(input, path, store);
  const known = await store.derivationOutputs(path);
  return outputs.map((name) => {
    const output = known.get(name);
    if (output !== undefined) return output;
    if (known.has(name)) throw notValid(input, `its output ${name} was not built`, path);
    const reason = `it has no output ${quote(name)}`;
    throw notAStorePath(input, reason, `It has ${[...known.keys()].join(", ")}.`);
  });
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

function notValid(input: string, reason: string, path: StorePath): HandpickError {
  return new HandpickError("PATH_NOT_VALID", `Cannot select ${quote(input)}: ${reason}`, {
    hint: `Build it, or get it with nix-store --realise ${path}.`,
  });
}

function toPick(paths: readonly StorePath[]): Pick {
  const name = paths[0] === undefined ? "" : packageNameOf(nameOf(paths[0]));
  return { name, paths, closure: "runtime", caches: undefined, exclude: [], pin: undefined };
}
