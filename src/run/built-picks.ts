import { cacheNames } from "../config/choose-cache.ts";
import type { Config } from "../config/config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { compileGlob } from "../nix/glob.ts";
import { type Manifest, type Pick, picksOf } from "../nix/manifest.ts";
import { packageNameOf } from "../nix/package-name.ts";
import { nameOf, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import { readStoreManifest } from "./store-manifest.ts";

/** The picks that an output of a build stands for, and what of it is left out, in words. */
export interface BuiltPicks {
  readonly picks: readonly Pick[];
  readonly notes: readonly string[];
}

export interface BuildRules {
  readonly config: Config;
  readonly store: Store;
  /** The caches that everything goes to, whatever a manifest says. @default {none} */
  readonly to?: readonly string[];
  /**
   * True if the outputs were accepted before, maybe by a glob of another process's command line.
   *
   * @default {false}
   */
  readonly isRecorded?: boolean;
}

/** Names that one note lists. */
const LISTED = 3;

/**
 * Makes the one judge of what is built, for post-build-hook, `exec` and `watch`. An output is pushed by
 * itself if a glob of `[builds]` fits its name. One that is a manifest is that only with
 * `manifests = true`, and stands for what {@link limited} leaves of it: its text may have come from
 * anywhere.
 */
export function builtPicksBy(rules: BuildRules): (path: StorePath) => Promise<BuiltPicks> {
  const { config, store, isRecorded = false } = rules;
  const { include, caches, manifests } = config.builds;
  const globs = include.map(compileGlob);
  return async (path) => {
    const isNamed = globs.some((fits) => fits(path));
    if (isNamed && !manifests) return { picks: [ownPick(path, caches)], notes: [] };
    const read = await readBuiltManifest(path, store);
    const notes = read.fault === undefined || !manifests ? [] : [read.fault];
    if (read.manifest !== undefined && manifests) return limited(path, read.manifest, rules);
    if (isNamed || (isRecorded && read.manifest === undefined)) {
      return { picks: [ownPick(path, caches)], notes };
    }
    const off = `${path} is a manifest, which counts only with manifests = true in [builds]`;
    return { picks: [], notes: read.manifest === undefined ? notes : [off] };
  };
}

/**
 * Returns the `paths` that the rules accept by themselves. No cache hears of the others.
 *
 * @param onNote Told what of them is left out.
 */
export async function acceptedByRules(
  paths: readonly StorePath[],
  rules: BuildRules,
  onNote: (text: string) => void,
): Promise<StorePath[]> {
  const builtPicks = builtPicksBy(rules);
  const accepted: StorePath[] = [];
  for (const path of paths) {
    const { picks, notes } = await builtPicks(path);
    for (const note of notes) onNote(note);
    if (picks.length > 0) accepted.push(path);
  }
  return accepted;
}

function ownPick(path: StorePath, caches: readonly string[]): Pick {
  return {
    name: packageNameOf(nameOf(path)),
    paths: [path],
    closure: "runtime",
    caches: caches.length > 0 ? caches : undefined,
    exclude: [],
    pin: undefined,
  };
}

interface Read {
  readonly manifest?: Manifest;
  /** Why what is meant as a manifest is none. */
  readonly fault?: string;
}

async function readBuiltManifest(path: StorePath, store: Store): Promise<Read> {
  try {
    const manifest = await readStoreManifest(path, store);
    return manifest === undefined ? {} : { manifest };
  } catch (error) {
    if (error instanceof HandpickError && error.code === "MANIFEST_INVALID") {
      return { fault: [error.message, error.hint].filter(Boolean).join("\n  ") };
    }
    throw error;
  }
}

/**
 * Takes from a built manifest what it may say: of paths only those that the output refers to, by the record of the
 * store, of caches only those that are configured, and no pins. A build closure holds what the output
 * does not refer to, so it shrinks to the runtime closure.
 */
async function limited(
  path: StorePath,
  manifest: Manifest,
  rules: BuildRules,
): Promise<BuiltPicks> {
  const { config, store, to = [] } = rules;
  const record = (await store.pathInfos([path])).get(path);
  const references = new Set<StorePath>(record?.references);
  const known = new Set(config.caches.map(({ name }) => name));
  const configured = (named: readonly string[]): string[] =>
    cacheNames(named, config).filter((name) => known.has(name));
  const everything = config.builds.caches.length > 0 ? config.builds.caches : undefined;
  const picks = picksOf(manifest).map((pick): Pick => {
    const named = pick.caches ?? everything;
    return {
      ...pick,
      paths: pick.paths.filter((one) => references.has(one)),
      caches: to.length === 0 && named !== undefined ? configured(named) : undefined,
      closure: pick.closure === "build" ? "runtime" : pick.closure,
      pin: undefined,
    };
  });
  const strays = manifest.picks.flatMap(({ paths }) => paths).filter((one) => !references.has(one));
  const named = manifest.picks.flatMap(({ caches }) => caches ?? []);
  const unknown = to.length === 0 ? named.filter((cache) => configured([cache]).length === 0) : [];
  const builds = manifest.picks.filter(({ closure }) => closure === "build");
  return {
    picks: picks.filter(({ paths, caches }) => paths.length > 0 && caches?.length !== 0),
    notes: [
      ...note(path, "refused, since it does not refer to them", strays),
      ...note(path, "caches ignored, since they are not configured", unknown.map(quote)),
      ...note(
        path,
        "pins ignored",
        manifest.picks.flatMap(({ pin }) => (pin === undefined ? [] : [quote(pin)])),
      ),
      ...note(
        path,
        "build closures taken as runtime closures",
        builds.map(({ name }) => quote(name)),
      ),
    ],
  };
}

function note(path: StorePath, what: string, names: readonly string[]): string[] {
  const unique = [...new Set(names)];
  if (unique.length === 0) return [];
  const more = unique.length > LISTED ? ` and ${unique.length - LISTED} more` : "";
  return [`built manifest ${path}: ${what}: ${unique.slice(0, LISTED).join(", ")}${more}`];
}
