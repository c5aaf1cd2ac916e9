import type { Cache, CacheInfo, CacheTraits, Compression } from "../cache/contract.ts";
import { excerpt } from "../http/excerpt.ts";
import { kindOf } from "../cache/kinds.ts";
import { openCache } from "../cache/open-cache.ts";
import type { RetryNotice } from "../http/retry.ts";
import { cacheNames, chooseCache, lacksTable, wantedCache } from "../config/choose-cache.ts";
import type { CacheConfig, Config } from "../config/config.ts";
import { readCredentials } from "../config/credentials.ts";
import type { Credentials } from "../config/credentials.ts";
import { namingHint } from "../config/found-file.ts";
import { HandpickError } from "../error.ts";
import { printPublicKey, publicKeyOf } from "../nix/key.ts";
import type { SecretKey } from "../nix/key.ts";
import type { Pick } from "../nix/manifest.ts";
import { knownKeys } from "./known-keys.ts";

/** An interrupted run ends within two seconds, and tells the cache before. */
const ABORT_MS = 1_200;

/** A cache of the configuration with the credentials it is used with. */
export interface OpenedCache {
  readonly config: CacheConfig;
  readonly cache: Cache;
  readonly credentials: Credentials;
}

export interface OpenOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  /** The store that paths come from. @default {"/nix/store"} */
  readonly storeDir?: string | undefined;
  /** Told in words when a cache is asked again after a failure. */
  readonly notify?: (text: string) => void;
}

/** Settings that decide about the caches of a pick that names none. */
export interface RouteOptions {
  readonly config: Config;
  /** Names or URLs of caches; none leaves it to the pick and the configuration. */
  readonly to: readonly string[];
  /** True if the pick is one of a manifest. */
  readonly isDeclared: boolean;
}

/**
 * The caches one pick goes to, each once: those that `to` names, else those the pick names, else all of the
 * configuration for a pick of a manifest, as for `sync`, and the first for a path on the command line.
 *
 * @throws {HandpickError} `CACHE_UNKNOWN` or `CACHE_URL_UNSUPPORTED`.
 */
export function cachesFor(pick: Pick, { config, to, isDeclared }: RouteOptions): CacheConfig[] {
  if (to.length === 0 && pick.isOptional === true) return optionalCaches(pick, config);
  const named = to.length > 0 ? to : pick.caches;
  if (named === undefined && !isDeclared) return [chooseCache(config)];
  const choose = to.length > 0 ? chooseCache : wantedCache;
  return cacheNames(named, config).map((name) => choose(config, name));
}

/** The caches of an optional pick, as optional as it is; those that have no table are left out. */
function optionalCaches({ caches: named }: Pick, config: Config): CacheConfig[] {
  const names = named ?? config.caches.map(({ name }) => name);
  const known = names.filter((to) =>
    to.includes("://") ? !lacksTable(config, to) : hasTable(to, config),
  );
  return cacheNames(known, config).map((name) => ({
    ...chooseCache(config, name),
    optional: true,
  }));
}

function hasTable(to: string, { caches }: Config): boolean {
  return caches.some(({ name }) => name === to);
}

/**
 * Opens one cache, with the credentials that its server may have; nothing is sent yet.
 *
 * @throws {HandpickError} `TOKEN_MISSING` if the cache is optional and has none, and what
 *   {@link readCredentials} throws.
 */
export async function openConfigured(
  config: CacheConfig,
  { env, uid, storeDir, notify }: OpenOptions,
): Promise<OpenedCache> {
  const credentials = await readCredentials(config, { env, uid });
  if (config.optional && lacksToken(config, credentials)) throw noToken(config, credentials);
  const cache = await openCache({
    name: config.name,
    url: config.url,
    host: credentials.host,
    token: credentials.token,
    login: credentials.login,
    storeDir,
    keys: knownKeys(config, credentials),
    env,
    onRetry: retryNotice(config.name, notify),
    abortMs: ABORT_MS,
  });
  assertCompression(config, cache);
  return { config, cache, credentials };
}

/** Puts a retry into words for {@link OpenOptions.notify}. */
export function retryNotice(
  name: string,
  notify: OpenOptions["notify"],
): (notice: RetryNotice) => void {
  return ({ reason, delayMs }) =>
    notify?.(`${name}: ${reason}; trying again in ${Math.ceil(delayMs / 1000)} s`);
}

function assertCompression(config: CacheConfig, { traits: { compressions } }: Cache): void {
  const { name, compression, compressionLevel } = config;
  const refuse = (key: string, value: string | number): never => {
    const taken = [...compressions].map((method) => `"${method}"`).join(" and ");
    const message = `Cannot use ${key} "${value}" with cache "${name}": it takes ${taken}`;
    const hint = `Remove the ${key} setting of this cache.`;
    throw new HandpickError("CONFIG_INVALID", message, { hint });
  };
  if (compression !== undefined && !compressions.has(compression)) {
    refuse("compression", compression);
  }
  const isPlain = compressions.isSubsetOf(new Set(["none"]));
  if (compressionLevel !== undefined && isPlain) refuse("compression-level", compressionLevel);
}

/** Asks a cache for what it says of itself, and adds what its table says about its readers. */
export async function infoOf(
  { cache, config }: Omit<OpenedCache, "credentials">,
  signal: AbortSignal,
): Promise<CacheInfo> {
  const info = await cache.info(signal);
  return {
    ...info,
    readUrl: config.readUrl ?? info.readUrl,
    publicKeys: config.publicKeys ?? info.publicKeys,
    isPublic: config.isPublic ?? info.isPublic,
  };
}

/**
 * Checks before anything is uploaded what would fail after it: the store folder, permission to write,
 * and that readers trust the key we sign with.
 *
 * @param storeDir That of the paths. @default {that of the cache}
 * @throws {HandpickError} `STORE_UNSUPPORTED`, `TOKEN_MISSING`, `CACHE_READ_ONLY` or `KEY_MISMATCH`.
 */
export function assertWritable(
  { cache, config, credentials }: OpenedCache,
  info: CacheInfo,
  storeDir: string = info.storeDir,
): void {
  if (info.storeDir !== storeDir) {
    throw new HandpickError(
      "STORE_UNSUPPORTED",
      `Cannot push to cache "${cache.name}": it holds paths of ${info.storeDir}, and this store is ${storeDir}`,
      {
        hint: "Readers use a path at the place it was built for; push it to a cache of that place.",
      },
    );
  }
  if (info.writable === false) {
    if (lacksToken(config, credentials)) throw noToken(config, credentials);
    const { token, tokenSource = "the configuration" } = credentials;
    const reason =
      token === undefined ? "we may only read it" : `the token from ${tokenSource} may only read`;
    const hint = kindOf(config.url)?.readOnlyHint;
    throw new HandpickError("CACHE_READ_ONLY", `Cannot push to cache "${cache.name}": ${reason}`, {
      hint,
    });
  }
  assertTrusted(usedKeys(cache.traits, credentials), config, info);
}

/** Returns true for a cache that nothing is sent to that says who we are, although it takes tokens. */
export function isAnonymous({ url }: CacheConfig, { token, login }: Credentials): boolean {
  const kind = kindOf(url);
  const isTaking = kind === undefined || kind.token !== undefined;
  return isTaking && token === undefined && login === undefined;
}

/** Returns true for such a cache if its kind needs a token, or its table names a file or variable with one. */
export function lacksToken(config: CacheConfig, credentials: Credentials): boolean {
  const { url, tokenFile, tokenEnv, clientFile } = config;
  const isNamed = (tokenFile ?? tokenEnv ?? clientFile) !== undefined;
  return isAnonymous(config, credentials) && (isNamed || kindOf(url)?.token?.isNeeded !== false);
}

function noToken(config: CacheConfig, { warnings }: Credentials): HandpickError {
  const why = ["no token", ...warnings].join("; ");
  const message = `Cannot push to cache "${config.name}": ${why}`;
  return new HandpickError("TOKEN_MISSING", message, { hint: tokenHint(config) });
}

/** Says where a token for a cache may come from. */
export function tokenHint({ url, foundFile }: CacheConfig): string {
  return foundFile === undefined
    ? (kindOf(url)?.token?.hint ?? "Set token-file in the configuration.")
    : `Set token-file to a file in the folder of ${foundFile}. ${namingHint(foundFile)}`;
}

/** The base64 of a key printed as `name:base64`; services and Nix name the same key differently. */
function bare(publicKey: string): string {
  return publicKey.slice(publicKey.indexOf(":") + 1);
}

/** A cache may have a key for each of its machines; more lines tell nobody more. */
const MOST_KEYS_SHOWN = 8;

/** The keys whose signatures a cache is given. */
function usedKeys({ signer }: CacheTraits, { signingKeys }: Credentials): readonly SecretKey[] {
  return signer === "client" ? signingKeys : signingKeys.slice(0, 1);
}

/** One of several keys is enough: readers may trust the next one only from tomorrow on. */
function assertTrusted(keys: readonly SecretKey[], config: CacheConfig, info: CacheInfo): void {
  const ours = keys.map((key) => bare(printPublicKey(publicKeyOf(key))));
  if (info.publicKeys === undefined || ours.length === 0) return;
  if (info.publicKeys.some((theirs) => ours.includes(bare(theirs)))) return;
  throw new HandpickError(
    "KEY_MISMATCH",
    `Cannot sign for cache "${config.name}": its readers do not trust our signing key\n` +
      [...ours.map((key) => `  ours   ${key}`), ...theirLines(info.publicKeys)].join("\n"),
    {
      hint:
        config.publicKeys === undefined
          ? `Use the key of this cache, or register ours: handpick keygen NAME --out ITS-FILE --register ${config.name}.`
          : "Use the key of this cache, or add ours to its public-keys.",
    },
  );
}

function theirLines(keys: readonly string[]): string[] {
  const shown = keys.slice(0, MOST_KEYS_SHOWN).map((key) => `  theirs ${excerpt(key)}`);
  const rest = keys.length - shown.length;
  return rest > 0 ? [...shown, `  and ${rest} more`] : shown;
}

/** The compression to use: what the user says, else what the cache prefers, else zstd. */
export function compressionFor(config: CacheConfig, info: CacheInfo | undefined): Compression {
  return config.compression ?? info?.preferredCompression ?? "zstd";
}
