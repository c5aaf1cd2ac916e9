import { isAbsolute, join } from "node:path";
import { HandpickError } from "../error.ts";
import { faultOf, FormatError, quote } from "../nix/format-error.ts";
import { parseSecretKey, type SecretKey } from "../nix/key.ts";
import { cachixName } from "./cache-url.ts";
import type { CacheConfig, Config } from "./config.ts";
import { type CachixDhall, cachixDhallPath, parseCachixDhall } from "./dhall.ts";
import { readSecretFile, type SecretFile, secretFileError } from "./secret-file.ts";
import { Secret } from "./secret.ts";

const TOKEN_VARIABLE = "CACHIX_AUTH_TOKEN";
const KEY_VARIABLE = "CACHIX_SIGNING_KEY";

/** What a cache is talked to with, and where each part came from. */
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

interface Search extends CredentialsOptions {
  readonly cache: CacheConfig;
  /** The name at the service; undefined if this is not a Cachix cache. */
  readonly cachix: string | undefined;
  readonly warnings: string[];
}

/**
 * Finds token, signing key and server of a cache. The token is looked for in `token-file`,
 * `token-env` and `$CREDENTIALS_DIRECTORY/<cache name>`, for Cachix also in `CACHIX_AUTH_TOKEN` and
 * the user's `cachix.dhall`; the key in `signing-key-file`, for Cachix also in `CACHIX_SIGNING_KEY`
 * and `cachix.dhall`. Empty values count as absent.
 *
 * @throws {HandpickError} `TOKEN_MISSING` if `token-file` is missing or empty; `CONFIG_UNREADABLE`
 *   if a named file cannot be read; `CONFIG_INVALID` if a token is not one word or `cachix.dhall`
 *   cannot be understood; `KEY_INVALID` if a key is none. No message quotes a secret.
 */
export async function readCredentials(
  cache: CacheConfig,
  { env, uid }: CredentialsOptions,
): Promise<Credentials> {
  const warnings: string[] = [];
  const search: Search = { cache, env, uid, cachix: cachixName(cache.url), warnings };
  const ownToken = await findToken(search);
  const ownKey = await findKey(search);
  const dhall = await findDhall(search, { canDoWithout: ownToken !== undefined });
  const token = ownToken ?? foundIn(dhall?.authToken, env);
  const listed = dhall?.binaryCaches.findLast(({ name }) => name === search.cachix);
  const key = ownKey ?? foundIn(listed?.secretKey, env);
  return {
    token: token && toToken(token),
    tokenSource: token?.source,
    signingKey: key && toKey(key, search.cachix),
    keySource: key?.source,
    host: cache.host ?? dhall?.hostname,
    warnings,
  };
}

/** The environment for programs that are started: without the variables that hold credentials. */
export function withoutSecrets(env: NodeJS.ProcessEnv, { caches }: Config): NodeJS.ProcessEnv {
  const secret = [TOKEN_VARIABLE, KEY_VARIABLE, ...caches.map(({ tokenEnv }) => tokenEnv)];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !secret.includes(name)));
}

async function findToken(search: Search): Promise<Found | undefined> {
  const { cache, env, cachix } = search;
  if (cache.tokenFile !== undefined) {
    const file = secretFile(search, { path: cache.tokenFile, content: "token" });
    const text = (await readSecretFile(file))?.trim();
    if (text) return { text, source: `file ${file.path}` };
    const found = text === undefined ? "it does not exist" : "it is empty";
    throw secretFileError("TOKEN_MISSING", file, { found });
  }
  if (cache.tokenEnv !== undefined && env[cache.tokenEnv] === undefined) {
    search.warnings.push(`variable ${cache.tokenEnv}, named by token-env, is not set`);
  }
  return (
    (cache.tokenEnv === undefined ? undefined : fromVariable(search, cache.tokenEnv)) ??
    (await fromSystemd(search)) ??
    (cachix === undefined ? undefined : fromVariable(search, TOKEN_VARIABLE))
  );
}

async function findKey(search: Search): Promise<Found | undefined> {
  const { cache, cachix } = search;
  if (cache.signingKeyFile !== undefined) {
    const file = secretFile(search, { path: cache.signingKeyFile, content: "signing key" });
    const text = (await readSecretFile(file))?.trim();
    if (text) return { text, source: `file ${file.path}` };
    if (text === "") throw secretFileError("KEY_INVALID", file, { found: "it is empty" });
    throw secretFileError("CONFIG_UNREADABLE", file, { found: "it does not exist" });
  }
  return cachix === undefined ? undefined : fromVariable(search, KEY_VARIABLE);
}

function fromVariable({ env, warnings }: Search, name: string): Found | undefined {
  const text = env[name]?.trim();
  if (text) return { text, source: `variable ${name}` };
  if (text === "") warnings.push(`variable ${name} is empty and counts as not set`);
  return undefined;
}

/** The folder where systemd puts what a unit gets by `LoadCredential=`. */
async function fromSystemd(search: Search): Promise<Found | undefined> {
  const folder = search.env["CREDENTIALS_DIRECTORY"] ?? "";
  if (!isAbsolute(folder)) return undefined;
  const path = join(folder, search.cache.name);
  const text = (await readSecretFile(secretFile(search, { path, content: "token" })))?.trim();
  if (text) return { text, source: `file ${path}` };
  if (text === "") search.warnings.push(`file ${path} is empty and counts as absent`);
  return undefined;
}

/**
 * The user's cachix.dhall. One that cannot be understood is passed over only if nothing of it can
 * matter but the key: without it we might send a token to the wrong server.
 */
async function findDhall(
  search: Search,
  { canDoWithout }: { readonly canDoWithout: boolean },
): Promise<CachixDhall | undefined> {
  const { cache, cachix, env, warnings } = search;
  if (cachix === undefined) return undefined;
  const path = cachixDhallPath(env);
  try {
    const text = await readSecretFile(secretFile(search, { path, content: "configuration" }));
    if (text === undefined) return undefined;
    const dhall = parseCachixDhall(text, { file: path, env });
    warnings.push(...dhall.warnings);
    return dhall;
  } catch (error) {
    if (!(error instanceof HandpickError && canDoWithout && cache.host !== undefined)) throw error;
    warnings.push(`file ${path} is ignored: ${error.message}`);
    return undefined;
  }
}

function secretFile(
  { cache, uid, warnings }: Search,
  { path, content }: { readonly path: string; readonly content: string },
): SecretFile {
  return { path, content: `the ${content} of cache ${quote(cache.name)}`, uid, warnings };
}

function foundIn(secret: Secret | undefined, env: NodeJS.ProcessEnv): Found | undefined {
  return secret && { text: secret.reveal().trim(), source: `file ${cachixDhallPath(env)}` };
}

function toToken({ text, source }: Found): Secret {
  if (/^[\u0021-\u007e]+$/.test(text)) return new Secret(text);
  const message = `Cannot use the token from ${source}: it must be one word of visible ASCII`;
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
