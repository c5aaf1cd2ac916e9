import { resolve } from "node:path";

import type { CacheInfo } from "../cache/contract.ts";
import { loadConfig } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import type { Config } from "../config/config.ts";
import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";
import { isStorePath, type StorePath } from "../nix/store-path.ts";
import { printable } from "../report/format.ts";
import { parseStdin } from "../select/select.ts";
import { stateFolder } from "../state/state-folder.ts";
import { readWanted, type WantedLink } from "../state/wanted.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import type { OpenedCache } from "../sync/open-caches.ts";
import { prepare } from "../sync/prepare.ts";
import type { Prepared } from "../sync/prepare.ts";
import { readSelection } from "../sync/wanted-picks.ts";
import type { CommonOptions } from "./command.ts";
import type { Io } from "./io.ts";

/** Options of the commands that take paths. */
export interface PathOptions extends CommonOptions {
  readonly to?: string;
  readonly store?: string;
  readonly stdin?: boolean;
  readonly assumeMissing?: boolean;
}

export const PATH_OPTIONS: readonly (readonly [string, string])[] = [
  [
    "-t, --to <cache>",
    "Cache name, or URL such as cachix://NAME (default: as manifests say, else the first)",
  ],
  ["--stdin", "Read more paths from stdin, separated by white space (default: off)"],
  [
    "--assume-missing",
    "Push what a silent upstream may have (default: hold what was not built here)",
  ],
  ["--store <store>", "Nix store to read: daemon, local, unix://…, local?root=… (default: auto)"],
];

export interface Readied {
  readonly config: Config;
  readonly store: Store;
  readonly prepared: Prepared;
}

/**
 * Opens configuration and store, decides about the paths, and runs `work` with all of it, which is to
 * tell of caches that failed beside others.
 *
 * @param inspect Looks at each cache that lacks something, before anything is sent; throws to stop.
 */
export async function withPrepared(
  { args, options, io, inspect, mayBeLate = false, note = quietly(options, io) }: WithPrepared,
  work: (readied: Readied) => Promise<number>,
): Promise<number> {
  const { env, cwd, uid, signal } = io;
  const isAll = args.length === 0 && options.stdin !== true;
  const given = [...args, ...(options.stdin === true ? await readWords(io) : [])];
  const links = isAll ? await wantedLinks(io) : [];
  const config = await loadConfig({
    file: options.config,
    env,
    cwd,
    uid,
    serves: isAll ? "wanted" : "arguments",
    to: options.to === undefined ? [] : [options.to],
    note,
  });
  await using store = await openStore({ store: options.store, env, signal });
  const inputs = isAll ? await manifestsOf(links, store) : given;
  await using prepared = await prepare({
    inputs,
    to: options.to,
    config,
    store,
    cwd,
    env,
    uid,
    signal,
    assumeMissing: options.assumeMissing === true,
    notify: rarely(note),
    // With "fail", what one cache lacks decides about the others.
    mayBeLate: mayBeLate && config.rules.onHole !== "fail",
    ...(inspect === undefined ? {} : { inspect }),
  });
  for (const warning of new Set(prepared.warnings)) note(`warning: ${warning}`);
  const isUndecided = (prepared.late ?? []).length > 0;
  if (prepared.plan.paths.length === 0 && !isUndecided) note("warning: nothing is selected");
  return await work({ config, store, prepared });
}

/** What is wanted on this machine; something has to be. */
async function wantedLinks({ env, cwd, uid }: Io): Promise<WantedLink[]> {
  const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
  const links = await readWanted(folder);
  if (links.length > 0) return links;
  const message = `No path, installable or manifest was given, and nothing is wanted in ${quote(folder.dir)}`;
  throw new HandpickError("USAGE", message, {
    hint: "Name one, such as ./result or .#package, or give --stdin.",
  });
}

/**
 * The manifests that are there; the others are selections that ended.
 *
 * @throws {HandpickError} `MANIFEST_INVALID` if a link leads to something else: it would be pushed as a
 *   path, or left out without a word.
 */
async function manifestsOf(links: readonly WantedLink[], store: Store): Promise<StorePath[]> {
  const targets = links.map(({ target }) => target);
  const paths = targets.filter((path): path is StorePath => isStorePath(path, store.storeDir));
  const valid = await store.validPaths(paths);
  const found = await Promise.all(links.map((link) => readSelection(link, valid, store)));
  return found.flatMap((selection) => (selection === undefined ? [] : [selection.manifest]));
}

export interface WithPrepared {
  readonly args: readonly string[];
  readonly options: PathOptions;
  readonly io: Io;
  readonly inspect?: (cache: OpenedCache, info: CacheInfo) => void;
  /** Whether `work` deals with caches that answer late. @default {false} */
  readonly mayBeLate?: boolean;
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
    if (quiet !== true) stderr.write(`handpick: ${printable(text)}\n`);
  };
}

const MAX_STDIN_BYTES = 64 << 20;

async function readWords({ stdin }: Io): Promise<string[]> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_STDIN_BYTES) throw new HandpickError("USAGE", "Stdin holds more than 64 MiB");
    chunks.push(bytes);
  }
  return parseStdin(Buffer.concat(chunks).toString());
}
