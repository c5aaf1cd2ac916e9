import { resolve } from "node:path";

import { cacheUrlFault } from "../cache/cache-url.ts";
import { kindOf, urlForms } from "../cache/kinds.ts";
import { chooseCache } from "../config/choose-cache.ts";
import { loadConfig } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import type { Config } from "../config/config.ts";
import { HandpickError } from "../error.ts";
import { quote, quoteUrl } from "../nix/format-error.ts";
import type { StorePath } from "../nix/store-path.ts";
import { printable } from "../report/format.ts";
import { writeText } from "../report/output.ts";
import { mayBeSelected } from "../select/locate.ts";
import { stateFolder } from "../state/state-folder.ts";
import { readWanted, type WantedLink } from "../state/wanted.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { gather, type Gathered } from "../run/gather.ts";
import type { PushAllOptions } from "../run/push-all.ts";
import { readSelection, validManifests } from "../sync/wanted-picks.ts";
import type { CommonOptions, OptionSpec } from "./command.ts";
import type { Io } from "./io.ts";
import { readInputs, type InputOptions } from "./read-inputs.ts";

/** Options of the commands that take paths. */
export interface PathOptions extends CommonOptions, InputOptions {
  readonly to?: readonly string[];
  readonly all?: boolean;
  readonly allOrNothing?: boolean;
  readonly store?: string;
  readonly assumeMissing?: boolean;
}

export const PATH_OPTIONS: readonly OptionSpec[] = [
  [
    "-t, --to <cache>",
    `Cache name, or URL: ${urlForms()}; may be given more than once ` +
      "(default: as manifests say, else the first)",
    "repeatable",
  ],
  ["-a, --all", "To every cache of the configuration, in place of --to (default: off)"],
  ["--wanted", "All that is wanted on this machine, as for handpick sync (default: off)"],
  ["--stdin", "Read more paths from stdin, as the word - does (default: off)"],
  ["--all-or-nothing", "Refuse all if one path cannot be selected (default: leave it out)"],
  [
    "--assume-missing",
    "Push what a silent upstream may have (default: hold what was not built here)",
  ],
  ["--store <store>", "Nix store to read: daemon, local, unix://…, local?root=… (default: auto)"],
];

/** The paths to push or to plan, and the settings for that. */
export interface GatheredRun {
  readonly config: Config;
  readonly gathered: Gathered;
  readonly options: Omit<PushAllOptions, "onEvent">;
}

/**
 * Opens configuration and store, selects the paths, and runs `work` with all of it, which is to tell of
 * caches that failed beside others.
 */
export async function withGathered(
  { args, options, io, note = quietly(options, io) }: WithGathered,
  work: (readied: GatheredRun) => Promise<number>,
): Promise<number> {
  const { env, cwd, uid, signal } = io;
  assertOneWay(options);
  const given = await readInputs(args, options, io);
  const links = given === "wanted" ? await wantedLinks(io) : [];
  const config = await loadConfig({
    ...io,
    file: options.config,
    serves: given === "wanted" ? "wanted" : "arguments",
    to: options.to ?? [],
    note,
  });
  if (given !== "wanted") await assertNoCaches(given, config, cwd);
  await using store = await openStore({ store: options.store, env, signal });
  const common = { config, store, env, uid, signal, notify: rarely(note) };
  await using gathered = await gather({
    ...common,
    inputs: given === "wanted" ? await manifestsOf(links, store) : given,
    to: options.all === true ? allCaches(config) : (options.to ?? []),
    isAll: options.all === true,
    allOrNothing: options.allOrNothing === true,
    cwd,
  });
  if (gathered.planned.every(({ members }) => members.size === 0)) {
    const look = given === "wanted" ? "; handpick status shows which selections have ended" : "";
    note(`warning: nothing is selected${look}`);
  }
  const onWarning = once((warning) => note(`warning: ${warning}`));
  const assumeMissing = options.assumeMissing === true;
  const run = { ...common, assumeMissing, closeness: "nar", onWarning } as const;
  return await work({ config, gathered, options: run });
}

/** Tells each text the first time only. */
function once(tell: (text: string) => void): (text: string) => void {
  const told = new Set<string>();
  return (text) => {
    if (told.has(text)) return;
    told.add(text);
    tell(text);
  };
}

/**
 * Refuses `--to` beside `--all`: those who name a cache may not mean that every other one gets it, too.
 *
 * @throws {HandpickError} `USAGE`
 */
function assertOneWay({ to = [], all }: PathOptions): void {
  if (all !== true || to.length === 0) return;
  throw new HandpickError("USAGE", "Cannot take --to and --all together", {
    hint: "Leave out --all to choose the caches of --to alone, or --to to choose every cache of the configuration.",
  });
}

/**
 * Returns the names of all caches of the configuration.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` if there is none.
 */
function allCaches(config: Config): readonly string[] {
  return (config.caches.length > 0 ? config.caches : [chooseCache(config)]).map(({ name }) => name);
}

/**
 * Refuses a cache among paths, as `cachix push` takes it: to leave it out would push the rest to
 * another one.
 *
 * @throws {HandpickError} `USAGE`
 */
async function assertNoCaches(
  words: readonly string[],
  { caches }: Config,
  cwd: string,
): Promise<void> {
  for (const word of words) {
    const isCache = isCacheUrl(word) || caches.some(({ name }) => name === word);
    if (!isCache || (await mayBeSelected(resolve(cwd, word)))) continue;
    const message = `Cannot select ${quoteUrl(word)}: it is a cache, and not a path`;
    throw new HandpickError("USAGE", message, {
      hint: `Name the cache by an option: --to ${printable(word)}.`,
    });
  }
}

/** Returns false for `file:///DIR#name`, a package of a flake. */
function isCacheUrl(word: string): boolean {
  return kindOf(word) !== undefined && cacheUrlFault(word) === undefined;
}

/** The selections of this machine; there has to be one. */
async function wantedLinks({ env, cwd, uid }: Io): Promise<WantedLink[]> {
  const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
  const links = await readWanted(folder);
  if (links.length > 0) return links;
  throw new HandpickError("USAGE", `Nothing is wanted in ${quote(folder.dir)}`, {
    hint: "Name a path, such as ./result or .#package; handpick status --help explains how to make selections.",
  });
}

/**
 * The manifests that are there; the others are selections that ended.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if a link leads to something else: it would be pushed as a
 *   path, or left out without a word.
 */
async function manifestsOf(links: readonly WantedLink[], store: Store): Promise<StorePath[]> {
  const valid = await validManifests(links, store);
  const found = await Promise.all(links.map((link) => readSelection(link, valid, store)));
  return found.flatMap((selection) => (selection === undefined ? [] : [selection.manifest]));
}

export interface WithGathered {
  readonly args: readonly string[];
  readonly options: PathOptions;
  readonly io: Io;
  /** Takes warnings. @default {lines on stderr, unless --quiet} */
  readonly note?: (text: string) => void;
}

const NOTE_INTERVAL_MS = 5_000;

/** Many paths fail at once when a cache is down; one of them is enough to tell. */
export function rarely(note: (text: string) => void): (text: string) => void {
  let lastMs = -Infinity;
  return (text) => {
    const nowMs = performance.now();
    if (nowMs - lastMs < NOTE_INTERVAL_MS) return;
    lastMs = nowMs;
    note(text);
  };
}

/** Notes as lines on stderr, or nowhere with `--quiet`. */
export function quietly({ quiet }: CommonOptions, { stderr }: Io): (text: string) => void {
  return (text) => {
    if (quiet !== true) writeText(stderr, `handpick: ${printable(text)}`);
  };
}
