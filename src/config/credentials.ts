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

interface FoundFile extends Found {
  readonly path: string;
}

interface FoundDhall extends CachixDhall {
  readonly source: string;
}

interface Search extends CredentialsOptions {
  readonly cache: CacheConfig;
  /** The name at the service; undefined if this is not a Cachix cache. */
  readonly cachix: string | undefined;
  readonly warnings: string[];
}

/**
 * Finds token, signing key and server of a cache. The token is looked for in
 * `$CREDENTIALS_DIRECTORY/<cache name>`, `token-file` and `token-env`, for Cachix also in
 * `CACHIX_AUTH_TOKEN` and a `cachix.dhall`; the key in `$CREDENTIALS_DIRECTORY/signing-key@<cache
 * name>` and `signing-key-file`, for Cachix also in `CACHIX_SIGNING_KEY` and `cachix.dhall`. That one
 * is `$CREDENTIALS_DIRECTORY/cachix.dhall@<cache name>`, `dhall-file`, or that of Cachix's client.
 * Empty values count as absent.
 *
 * @throws {HandpickError} `TOKEN_MISSING` if `token-file` or `dhall-file` is missing or empty; `CONFIG_UNREADABLE`
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
  const token = ownToken ?? foundIn(dhall?.authToken, dhall);
  const listed = dhall?.binaryCaches.findLast(({ name }) => name === search.cachix);
  const key = ownKey ?? foundIn(listed?.secretKey, dhall);
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
  const given = await fromSystemd(search, { id: cache.name, content: "token" });
  if (given !== undefined) return given;
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
    (cachix === undefined ? undefined : fromVariable(search, TOKEN_VARIABLE))
  );
}

async function findKey(search: Search): Promise<Found | undefined> {
  const { cache, cachix } = search;
  const id = `signing-key@${cache.name}`;
  const given = await fromSystemd(search, { id, content: "signing key" });
  if (given !== undefined) return given;
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

/**
 * Something that systemd puts into a folder for a unit, by `LoadCredential=ID:…`. It goes first: who
 * gave it to the unit meant it, and the unit's user may not be let to the file it comes from.
 */
async function fromSystemd(
  search: Search,
  { id, content }: { readonly id: string; readonly content: string },
): Promise<FoundFile | undefined> {
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
async function findDhall(
  search: Search,
  { canDoWithout }: { readonly canDoWithout: boolean },
): Promise<FoundDhall | undefined> {
  const { cache, cachix, env, warnings } = search;
  if (cachix === undefined) return undefined;
  try {
    const found = await readDhallFile(search);
    if (found === undefined) return undefined;
    const dhall = parseCachixDhall(found.text, { file: found.path, env });
    warnings.push(...dhall.warnings);
    return { ...dhall, source: found.source };
  } catch (error) {
    if (!(error instanceof HandpickError && canDoWithout && cache.host !== undefined)) throw error;
    const path = cache.dhallFile ?? cachixDhallPath(env);
    warnings.push(`file ${path} is ignored: ${error.message}`);
    return undefined;
  }
}

async function readDhallFile(search: Search): Promise<FoundFile | undefined> {
  const { cache, env } = search;
  const id = `cachix.dhall@${cache.name}`;
  const given = await fromSystemd(search, { id, content: "configuration" });
  if (given !== undefined) return given;
  const path = cache.dhallFile ?? cachixDhallPath(env);
  const file = secretFile(search, { path, content: "configuration" });
  const text = await readSecretFile(file);
  if (text !== undefined) return { text, path, source: `file ${path}` };
  if (cache.dhallFile === undefined) return undefined;
  throw secretFileError("TOKEN_MISSING", file, { found: "it does not exist" });
}

function secretFile(
  { cache, uid, warnings }: Search,
  { path, content }: { readonly path: string; readonly content: string },
): SecretFile {
  return { path, content: `the ${content} of cache ${quote(cache.name)}`, uid, warnings };
}

function foundIn(secret: Secret | undefined, dhall: FoundDhall | undefined): Found | undefined {
  return secret && dhall && { text: secret.reveal().trim(), source: dhall.source };
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
