import { isAbsolute, join } from "node:path";
import { HandpickError } from "../error.ts";
import { faultOf, FormatError, quote } from "../nix/format-error.ts";
import { parseSecretKey, type SecretKey } from "../nix/key.ts";
import { cachixName, isCacheName } from "../cache/cache-url.ts";
import type { CacheConfig, Config } from "./config.ts";
import { type CachixDhall, cachixDhallPath, parseCachixDhall } from "../cache/cachix/dhall.ts";
import { mayHaveDefaults } from "./found-config.ts";
import { withNamingHint } from "./found-file.ts";
import { readSecretFile, type SecretFile, secretFileError } from "./secret-file.ts";
import { Secret } from "../secret.ts";
import { tokenFault } from "./token.ts";

const TOKEN_VARIABLE = "CACHIX_AUTH_TOKEN";
const KEY_VARIABLE = "CACHIX_SIGNING_KEY";

/** Token, key and host for a cache, and the source of each. */
export interface Credentials {
  readonly token: Secret | undefined;
  /** For people, such as `file /run/secrets/cachix`. */
  readonly tokenSource: string | undefined;
  readonly signingKey: SecretKey | undefined;
  readonly keySource: string | undefined;
  /** Base URL of the server; undefined for the default one. */
  readonly host: string | undefined;
  /** Sentences without a full stop: what counts as absent, and who else may read secrets. */
  readonly warnings: readonly string[];
}

export interface CredentialsOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Numeric user, for hints; undefined where the platform has none. */
  readonly uid: number | undefined;
}

interface Found {
  readonly text: string;
  readonly source: string;
}

interface FoundFile extends Found {
  readonly path: string;
}

interface FoundDhall extends CachixDhall {
  readonly source: string;
  /** True if the cache's own settings name it, rather than systemd or Cachix's client. */
  readonly isNamed: boolean;
}

interface Search extends CredentialsOptions {
  readonly cache: CacheConfig;
  /** The name at the service; undefined if this is not a Cachix cache. */
  readonly cachix: string | undefined;
  readonly warnings: string[];
}

/** A place to look in besides what the cache's own settings name. */
interface SearchAll extends Search {
  readonly defaults: boolean;
}

/**
 * Finds token, signing key and server of a cache. The token is looked for in
 * `$CREDENTIALS_DIRECTORY/<cache name>`, `token-file` and `token-env`, for Cachix also in
 * `CACHIX_AUTH_TOKEN` and a `cachix.dhall`; the key in `$CREDENTIALS_DIRECTORY/signing-key@<cache
 * name>` and `signing-key-file`, for Cachix also in `CACHIX_SIGNING_KEY` and `cachix.dhall`. That one
 * is `$CREDENTIALS_DIRECTORY/cachix.dhall@<cache name>`, `dhall-file`, or that of Cachix's client. A found
 * configuration has no part in `$CREDENTIALS_DIRECTORY`: it would name what it takes there.
 * Empty values count as absent. What the settings of the cache do not name counts only where
 * {@link mayHaveDefaults} lets it go.
 *
 * @throws {HandpickError} `TOKEN_MISSING` if `token-file` or `dhall-file` is missing or empty and the cache
 *   is not optional; `CONFIG_UNREADABLE` if a named file cannot be read; `CONFIG_UNTRUSTED` if a found
 *   configuration may not name it; `CONFIG_INVALID` if a token is none or `cachix.dhall` cannot be
 *   understood; `KEY_INVALID` if a key is none. No message quotes a secret.
 */
export async function readCredentials(
  cache: CacheConfig,
  { env, uid }: CredentialsOptions,
): Promise<Credentials> {
  const search = { cache, env, uid, cachix: cachixName(cache.url) };
  const dhallWarnings: string[] = [];
  const { dhall, error } = await tryDhall({ ...search, warnings: dhallWarnings });
  const host = cache.host ?? dhall?.hostname;
  const usersHost = dhall?.isNamed === false ? dhall.hostname : undefined;
  const defaults = mayHaveDefaults(cache, { host, usersHost });
  const warnings: string[] = [];
  const all = { ...search, warnings, defaults };
  const ownToken = await findToken(all);
  if (error !== undefined && (ownToken === undefined || cache.host === undefined)) throw error;
  const ownKey = await findKey(all);
  const usable = dhall?.isNamed === true || defaults ? dhall : undefined;
  const token = ownToken ?? foundIn(usable?.authToken, usable);
  const listed = usable?.binaryCaches.findLast(({ name }) => name === search.cachix);
  const key = ownKey ?? foundIn(listed?.secretKey, usable);
  if (!defaults && token === undefined) warnings.push(withheld(cache, host));
  return {
    token: token && toToken(token),
    tokenSource: token?.source,
    signingKey: key && toKey(key, search.cachix),
    keySource: key?.source,
    host,
    warnings: [...warnings, ...dhallWarnings],
  };
}

function withheld({ foundFile }: CacheConfig, host = ""): string {
  const rule = "credentials from elsewhere than its folder do not go to";
  return `${foundFile} was found and not named, so ${rule} ${host}, which it names`;
}

/** The environment for programs that are started: without the variables that hold credentials. */
export function withoutSecrets(env: NodeJS.ProcessEnv, { caches }: Config): NodeJS.ProcessEnv {
  const secret = [TOKEN_VARIABLE, KEY_VARIABLE, ...caches.map(({ tokenEnv }) => tokenEnv)];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !secret.includes(name)));
}

async function findToken(search: SearchAll): Promise<Found | undefined> {
  const { cache, env, cachix, defaults } = search;
  const given = defaults
    ? await fromSystemd(search, { id: cache.name, content: "token" })
    : undefined;
  if (given !== undefined) return given;
  if (cache.tokenFile !== undefined) {
    const file = secretFile(search, { path: cache.tokenFile, content: "token" });
    const text = (await readSecretFile(file))?.trim();
    if (text) return { text, source: `file ${file.path}` };
    const found = text === undefined ? "it does not exist" : "it is empty";
    if (!cache.optional) throw secretFileError("TOKEN_MISSING", file, { found });
  }
  if (cache.tokenEnv !== undefined && env[cache.tokenEnv] === undefined) {
    search.warnings.push(`variable ${cache.tokenEnv}, named by token-env, is not set`);
  }
  return (
    (cache.tokenEnv === undefined ? undefined : fromVariable(search, cache.tokenEnv)) ??
    (cachix === undefined || !defaults ? undefined : fromVariable(search, TOKEN_VARIABLE))
  );
}

async function findKey(search: SearchAll): Promise<Found | undefined> {
  const { cache, cachix, defaults } = search;
  const id = `signing-key@${cache.name}`;
  const given = defaults ? await fromSystemd(search, { id, content: "signing key" }) : undefined;
  if (given !== undefined) return given;
  if (cache.signingKeyFile !== undefined) {
    const file = secretFile(search, { path: cache.signingKeyFile, content: "signing key" });
    const text = (await readSecretFile(file))?.trim();
    if (text) return { text, source: `file ${file.path}` };
    if (text === "") throw secretFileError("KEY_INVALID", file, { found: "it is empty" });
    throw secretFileError("CONFIG_UNREADABLE", file, { found: "it does not exist" });
  }
  return cachix === undefined || !defaults ? undefined : fromVariable(search, KEY_VARIABLE);
}

function fromVariable({ env, warnings }: Search, name: string): Found | undefined {
  const text = env[name]?.trim();
  if (text) return { text, source: `variable ${name}` };
  if (text === "") warnings.push(`variable ${name} is empty and counts as not set`);
  return undefined;
}

/**
 * Something that systemd puts into a folder for a unit, by `LoadCredential=ID:…`. It goes first: who
 * gave it to the unit meant it, and the unit's user may not be let to the file it comes from.
 */
async function fromSystemd(
  search: Search,
  { id, content }: { readonly id: string; readonly content: string },
): Promise<FoundFile | undefined> {
  const { name, foundFile } = search.cache;
  // A cache that has only a URL has no name that a unit could have meant, and one of a found file any name.
  if (!isCacheName(name) || foundFile !== undefined) return undefined;
  const folder = search.env["CREDENTIALS_DIRECTORY"] ?? "";
  if (!isAbsolute(folder)) return undefined;
  const path = join(folder, id);
  const text = (await readSecretFile(secretFile(search, { path, content })))?.trim();
  if (text) return { text, path, source: `file ${path}` };
  if (text === "") search.warnings.push(`file ${path} is empty and counts as absent`);
  return undefined;
}

/**
 * The `cachix.dhall`. One that cannot be understood is passed over only if nothing of it can matter
 * but the key: without it we might send a token to the wrong server.
 */
async function tryDhall(
  search: Search,
): Promise<{ readonly dhall?: FoundDhall; readonly error?: HandpickError }> {
  const { cache, cachix, env, warnings } = search;
  if (cachix === undefined) return {};
  try {
    const found = await readDhallFile(search);
    if (found === undefined) return {};
    const { path, source, isNamed } = found;
    // A variable in a file of somebody's checkout could be any secret of ours.
    const known = isNamed && cache.foundFile !== undefined ? undefined : env;
    const dhall = parseCachixDhall(found.text, { file: path, env: known });
    warnings.push(...dhall.warnings);
    return { dhall: { ...dhall, source, isNamed } };
  } catch (error) {
    if (!(error instanceof HandpickError)) throw error;
    if (error.code === "CONFIG_UNTRUSTED") throw withNamingHint(error, cache.foundFile);
    const path = cache.dhallFile ?? cachixDhallPath(env);
    warnings.push(`file ${path} is ignored: ${error.message}`);
    return { error };
  }
}

async function readDhallFile(
  search: Search,
): Promise<(FoundFile & { readonly isNamed: boolean }) | undefined> {
  const { cache, env } = search;
  const id = `cachix.dhall@${cache.name}`;
  const given = await fromSystemd(search, { id, content: "configuration" });
  if (given !== undefined) return { ...given, isNamed: false };
  const isNamed = cache.dhallFile !== undefined;
  const path = cache.dhallFile ?? cachixDhallPath(env);
  const file = secretFile(isNamed ? search : believed(search), { path, content: "configuration" });
  const text = await readSecretFile(file);
  if (text !== undefined) return { text, path, source: `file ${path}`, isNamed };
  if (!isNamed || cache.optional) return undefined;
  throw secretFileError("TOKEN_MISSING", file, { found: "it does not exist" });
}

/** The same search for files that the cache's own settings do not name. */
function believed<T extends Search>(search: T): T {
  return { ...search, cache: { ...search.cache, foundFile: undefined } };
}

function secretFile(
  { cache, uid, env, warnings }: Search,
  { path, content }: { readonly path: string; readonly content: string },
): SecretFile {
  const { name, foundFile } = cache;
  return { path, content: `the ${content} of cache ${quote(name)}`, uid, env, foundFile, warnings };
}

function foundIn(secret: Secret | undefined, dhall: FoundDhall | undefined): Found | undefined {
  return secret && dhall && { text: secret.reveal().trim(), source: dhall.source };
}

function toToken({ text, source }: Found): Secret {
  const fault = tokenFault(text);
  if (fault === undefined) return new Secret(text);
  const message = `Cannot use the token from ${source}: it must be one word of visible ASCII${fault}`;
  throw new HandpickError("CONFIG_INVALID", message, {
    hint: "Put the token alone there, as the service showed it.",
  });
}

function toKey({ text, source }: Found, cachix: string | undefined): SecretKey {
  try {
    return parseSecretKey(text, cachix === undefined ? undefined : `${cachix}.cachix.org-1`);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const message = `Cannot use the signing key from ${source}: ${faultOf(cause)}`;
    throw new HandpickError("KEY_INVALID", message, {
      cause,
      hint: "Give it as name:base64 or as base64 alone, 64 bytes, as handpick keygen writes it.",
    });
  }
}
