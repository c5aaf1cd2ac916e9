import { resolve } from "node:path";

import type { CacheInfo } from "../cache/contract.ts";
import { kindOf, urlForms } from "../cache/kinds.ts";
import { chooseCache, lacksTable, searchSentences, wantedCache } from "../config/choose-cache.ts";
import type { CacheConfig, Config } from "../config/config.ts";
import { type FindConfigOptions, loadConfig, ownFiles } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { diskRoom } from "../files/disk-room.ts";
import { idleExcludes } from "../plan/idle-excludes.ts";
import { stateFolder } from "../state/state-folder.ts";
import { readWanted } from "../state/wanted.ts";
import { openStore } from "../store/open-store.ts";
import { quote } from "../nix/format-error.ts";
import { withMissingToken } from "../run/with-missing-token.ts";
import { accessOutcome } from "./access-outcome.ts";
import { readersOutcome } from "./readers-outcome.ts";
import { check, ok, warning, type Check, type Outcome } from "./check.ts";
import { checkPrograms, checkStarter } from "./diagnose-machine.ts";
import { idleCaches } from "../run/idle-caches.ts";
import {
  assertWritable,
  compressionFor,
  infoOf,
  isAnonymous,
  lacksToken,
  openConfigured,
  tokenHint,
} from "../run/open-caches.ts";
import type { OpenedCache, OpenOptions } from "../run/open-caches.ts";
import { isUnsigned, SIGN_HINT } from "../run/signatures.ts";
import { holdWanted } from "../sync/wanted-picks.ts";

export interface DiagnoseRequest extends OpenOptions {
  readonly configFile: string | undefined;
  /** Store to look at; undefined means what Nix would use. */
  readonly store: string | undefined;
  /** Caches to look at; none means all of the configuration. */
  readonly caches: readonly string[];
  readonly cwd: string;
  readonly signal: AbortSignal;
}

/** Looks at everything a push needs, in the order in which it is needed. Uploads nothing. */
export async function* diagnose(request: DiagnoseRequest): AsyncGenerator<Check> {
  let storeDir: string | undefined;
  const ofStore = await check("store", async () => {
    const { found, outcome } = await lookAtStore(request);
    storeDir = found;
    return outcome;
  });
  yield ofStore;
  const { env, cwd, uid, configFile } = request;
  let config: Config | undefined;
  yield await check("configuration", async () => {
    const options = { file: configFile, env, cwd, uid };
    config = await loadConfig({ ...options, serves: "arguments" });
    if (config.isFound) return foundOutcome(config, options);
    if (config.file !== undefined) return ok(config.file);
    if (request.caches.length > 0) return ok("no file found, and none needed");
    const hint = `Write ${ownFiles(request)[0]}, or name a cache: ${urlForms()}`;
    return warning("no file found", [hint, ...searchSentences(config)].join(". "));
  });
  yield await checkStarter(request);
  if (config === undefined) return;
  yield* checkPrograms(config, request);
  if (request.caches.length === 0) {
    const isNone = config.caches.length === 0;
    // Without a store, nobody knows what selections name.
    const found =
      storeDir !== undefined || isNone
        ? await check("caches", () => checkOfWanted(request))
        : undefined;
    if (found !== undefined && (isNone || found.status === "failed")) yield found;
  }
  yield* checkRules(config, request);
  const names = request.caches.length > 0 ? request.caches : config.caches.map(({ name }) => name);
  for (const name of names) yield* checkCache(name, config, { ...request, storeDir });
}

/** Tells what a file that was found does and does not, and what serves the rest. */
async function foundOutcome({ file }: Config, options: FindConfigOptions): Promise<Outcome> {
  const text = `${file}, found in this folder and not named: it serves the command line only`;
  const { file: own } = await loadConfig({ ...options, serves: "wanted" });
  if (own !== undefined) return ok(`${text}; selections go by ${own}`);
  const hint = `Selections (sync, hooks) have no configuration: write ${ownFiles(options)[0]}`;
  return warning(text, hint);
}

async function lookAtStore({
  env,
  signal,
  store,
}: DiagnoseRequest): Promise<{ readonly found: string; readonly outcome: Outcome }> {
  await using opened = await openStore({ store, env, signal });
  await opened.validPaths([]);
  const found = opened.storeDir;
  return { found, outcome: ok(`${found} through ${opened.description}`) };
}

/**
 * Looks whether what is wanted has a cache to go to, by the configuration that a sync uses. A selection may name
 * its own.
 */
async function checkOfWanted(request: DiagnoseRequest): Promise<Outcome> {
  const { env, cwd, uid, signal, store, configFile } = request;
  const links = await readWanted(stateFolder(resolve(cwd, stateDirectory(env, uid))), "read");
  if (links.length === 0)
    return warning("none configured", "Add [caches.NAME] to the configuration");
  const config = await loadConfig({ file: configFile, env, cwd, uid, serves: "wanted" });
  await using opened = await openStore({ store, env, signal });
  const surroundings = { store: opened, config, env, uid };
  await using wanted = await holdWanted({ links, builds: [] }, surroundings);
  const names = new Set(wanted.planned.flatMap(({ caches }) => caches));
  for (const name of names) wantedCache(config, name);
  return ok("none configured, and selections name their own");
}

/** Holds the rules against what is wanted, if anything is. */
async function* checkRules(config: Config, request: DiagnoseRequest): AsyncGenerator<Check> {
  const { env, cwd, uid, signal, store } = request;
  // Selections do not go by a file that was found.
  if (config.caches.length === 0 || config.isFound || config.rules.exclude.length === 0) return;
  let isWanted = true;
  const found = await check("rules", async () => {
    const links = await readWanted(stateFolder(resolve(cwd, stateDirectory(env, uid))), "read");
    isWanted = links.length > 0;
    if (!isWanted) return ok("nothing is wanted");
    await using opened = await openStore({ store, env, signal });
    const surroundings = { store: opened, config, env, uid };
    await using wanted = await holdWanted({ links, builds: [] }, surroundings);
    const idle = idleExcludes(wanted.planned, config.rules);
    if (idle.length === 0) return ok("each exclude matches a wanted path");
    return warning(
      idle.join("; "),
      "Without a wildcard, a glob is a whole name or that of a package; handpick plan shows the names",
    );
  });
  if (isWanted) yield found;
}

async function* checkCache(
  name: string,
  config: Config,
  request: DiagnoseRequest,
): AsyncGenerator<Check> {
  let chosen: CacheConfig | undefined;
  let opened: OpenedCache | undefined;
  const credentials = await check(`${name}: credentials`, async () => {
    chosen = chooseCache(config, name);
    if ((await idleCaches([chosen], request)).size > 0) {
      return ok("optional, and there is no token: nothing is asked");
    }
    opened = await openConfigured(chosen, request);
    return credentialsOutcome(opened, !lacksTable(config, name));
  });
  yield credentials;
  if (chosen === undefined || opened === undefined) return;
  await using _cache = opened.cache;
  const { config: cacheConfig } = opened;
  const about = opened;
  let info: CacheInfo | undefined;
  yield await check(`${name}: cache`, async () => {
    info = await withMissingToken(about, () => infoOf(about, request.signal));
    assertWritable(about, info, request.storeDir);
    const kind = info.isPublic === false ? "private" : "public";
    const place = placeText(about, info);
    if (await isDiskFull(cacheConfig)) {
      return warning(`${kind}, its disk is full, ${place}`, "Make room on that disk.");
    }
    return ok(`${kind}, ${writableText(about, info)}, ${place}`);
  });
  const found = info;
  if (found !== undefined)
    yield await check(`${name}: readers`, () => readersOutcome(about, found, request));
  const diagnose = about.cache.diagnose?.bind(about.cache);
  if (diagnose === undefined) return;
  yield await check(`${name}: access`, async () => accessOutcome(await diagnose(request.signal)));
}

function placeText({ cache, config }: OpenedCache, info: CacheInfo): string {
  const { readUrl, storeDir, priority } = info;
  const isOurs = cache.traits.signer !== "cache";
  const compression = isOurs ? compressionFor(config, info) : "compressed by the server";
  const rank = priority === undefined ? [] : [`priority ${priority}`];
  return [`read at ${readUrl}`, compression, `paths of ${storeDir}`, ...rank].join(", ");
}

/** There are servers that only a write tells of; nothing is written to find out, but what leaves no trace. */
function writableText({ cache }: OpenedCache, { writable }: CacheInfo): string {
  if (writable === true) return "writable";
  const moment = cache.diagnose === undefined ? "shows with the first push" : "is tried below";
  return `whether we may write ${moment}`;
}

/** Of a disk that tells nothing, nothing is said. */
async function isDiskFull({ url }: CacheConfig): Promise<boolean> {
  const folder = kindOf(url)?.folderOf(url);
  if (folder === undefined) return false;
  return await diskRoom(folder).then(
    ({ isFull }) => isFull,
    () => false,
  );
}

/** Says what is sent to a cache that tells it who we are. */
function sentText({ cache, config, credentials }: OpenedCache): string {
  const { token, tokenSource, login, loginSource } = credentials;
  if (token !== undefined) return `token from ${tokenSource ?? "configuration"}`;
  if (login !== undefined) {
    return `user ${quote(login.user)} and password from ${loginSource ?? "configuration"}`;
  }
  if (cache.diagnose !== undefined) return "those that access tells of, below";
  if (!isAnonymous(config, credentials)) return "no token needed";
  return ["neither token nor password", ...credentials.doubts].join("; ");
}

function credentialsOutcome(opened: OpenedCache, isConfigured: boolean): Outcome {
  const { config, credentials } = opened;
  const { signingKeys, keySource, warnings } = credentials;
  if (lacksToken(config, credentials)) {
    return warning(["no token", ...warnings].join("; "), tokenHint(config));
  }
  const parts = [sentText(opened)];
  if (signingKeys.length > 0) {
    const keys = signingKeys.length === 1 ? "signing key" : `${signingKeys.length} signing keys`;
    parts.push(`${keys} from ${keySource ?? "configuration"}`);
  }
  if (!isConfigured) parts.push("selections need a table for it in the configuration");
  const text = parts.join(", ");
  if (warnings.length > 0) return warning(text, warnings.join("; "));
  if (!isUnsigned(opened)) return ok(text);
  return warning(
    `${text}, and nothing is signed: Nix refuses to read what has no signature`,
    SIGN_HINT,
  );
}
