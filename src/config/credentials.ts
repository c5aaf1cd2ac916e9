import { isAbsolute, join } from "node:path";
import { HandpickError } from "../error.ts";
import { faultOf, FormatError, quote } from "../nix/format-error.ts";
import { parseSecretKey, type SecretKey } from "../nix/key.ts";
import { isCacheName } from "../cache/cache-url.ts";
import type { CacheKind, ClientConfig, ClientFile, Login } from "../cache/kind.ts";
import { KINDS, kindOf } from "../cache/kinds.ts";
import type { CacheConfig, Config } from "./config.ts";
import { mayHaveDefaults } from "./found-config.ts";
import { withNamingHint } from "./found-file.ts";
import { readSecretFile, type SecretFile, secretFileError } from "./secret-file.ts";
import { Secret } from "../secret.ts";
import { tokenFault } from "./token.ts";

/** Token or login, key and host for a cache, and the source of each. */
export interface Credentials {
  readonly token: Secret | undefined;
  /** For people, such as `file /run/secrets/cachix`. */
  readonly tokenSource: string | undefined;
  /** Undefined where there is a token. */
  readonly login: Login | undefined;
  readonly loginSource: string | undefined;
  readonly signingKey: SecretKey | undefined;
  readonly keySource: string | undefined;
  /** Base URL of the server; undefined for the default one. */
  readonly host: string | undefined;
  /** Sentences without a full stop: what counts as absent, and who else may read secrets. */
  readonly warnings: readonly string[];
  /** Sentences that matter only where the cache refuses us: which credentials could not be read. */
  readonly doubts: readonly string[];
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

interface FoundClient extends ClientConfig {
  readonly source: string;
  /** True if the cache's own settings name it, rather than systemd or the client. */
  readonly isNamed: boolean;
}

interface Search extends CredentialsOptions {
  readonly cache: CacheConfig;
  /** Undefined if no kind has the URL: only what the settings of the cache name counts then. */
  readonly kind: CacheKind | undefined;
  readonly warnings: string[];
}

/** A place to look in besides what the cache's own settings name. */
interface SearchAll extends Search {
  readonly defaults: boolean;
}

/**
 * Finds token, signing key and server of a cache. The token is looked for in
 * `$CREDENTIALS_DIRECTORY/<cache name>`, `token-file` and `token-env`, then in the variable of its kind and
 * the configuration of its kind's own client; the key in `$CREDENTIALS_DIRECTORY/signing-key@<cache
 * name>` and `signing-key-file`, then in variable and configuration as well. The client's configuration
 * is `$CREDENTIALS_DIRECTORY/<its name>@<cache name>`, the file that the table names, or that of the client. A
 * found configuration has no part in `$CREDENTIALS_DIRECTORY`: it would name what it takes there.
 * Empty values count as absent. What the settings of the cache do not name counts only where
 * {@link mayHaveDefaults} lets it go. A kind without tokens gets none, and one without keys no key.
 *
 * @throws {HandpickError} `TOKEN_MISSING` if the file of a token or of the client is named and missing or
 *   empty, and the cache is not optional; `CONFIG_UNREADABLE` if a named file cannot be read;
 *   `CONFIG_UNTRUSTED` if a found configuration may not name it; `CONFIG_INVALID` if a token is none or
 *   the client's configuration cannot be understood; `KEY_INVALID` if a key is none. No message quotes a
 *   secret.
 */
export async function readCredentials(
  cache: CacheConfig,
  { env, uid }: CredentialsOptions,
): Promise<Credentials> {
  const search = { cache, env, uid, kind: kindOf(cache.url) };
  const clientWarnings: string[] = [];
  const { client, error, doubt } = await tryClient({ ...search, warnings: clientWarnings });
  const host = cache.host ?? client?.host;
  const usersHost = client?.isNamed === false ? client.host : undefined;
  const defaults = mayHaveDefaults(cache, { host, usersHost });
  const warnings: string[] = [];
  const all = { ...search, warnings, defaults };
  const ownToken = await findToken(all);
  const isHostKnown = cache.host !== undefined || search.kind?.keys.has("host") === false;
  if (error !== undefined && (ownToken === undefined || !isHostKnown)) throw error;
  const ownKey = await findKey(all);
  const usable = client?.isNamed === true || defaults ? client : undefined;
  const token = ownToken ?? foundIn(usable?.token, usable) ?? (await fromClientFile(usable, all));
  const login = token === undefined ? usable?.login : undefined;
  const key = ownKey ?? foundIn(usable?.signingKey, usable);
  if (!defaults && token === undefined) warnings.push(withheld(cache, host));
  return {
    token: token && toToken(token),
    tokenSource: token?.source,
    login,
    loginSource: login && usable?.source,
    signingKey: key && toKey(key, search),
    keySource: key?.source,
    host,
    warnings: [...warnings, ...clientWarnings],
    doubts: doubt === undefined ? [] : [doubt],
  };
}

function withheld({ foundFile }: CacheConfig, host = ""): string {
  const rule = "credentials from elsewhere than its folder do not go to";
  return `${foundFile} was found and not named, so ${rule} ${host}, which it names`;
}

/** The environment for programs that are started: without the variables that hold credentials. */
export function withoutSecrets(env: NodeJS.ProcessEnv, { caches }: Config): NodeJS.ProcessEnv {
  const ofKinds = KINDS.flatMap(({ token, key }) => [token?.variable, key?.variable]);
  const secret = new Set([...ofKinds, ...caches.map(({ tokenEnv }) => tokenEnv)]);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !secret.has(name)));
}

async function findToken(search: SearchAll): Promise<Found | undefined> {
  const { cache, env, kind, defaults } = search;
  if (kind !== undefined && kind.token === undefined) return undefined;
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
    fromVariable(search, cache.tokenEnv) ??
    (defaults ? fromVariable(search, kind?.token?.variable) : undefined)
  );
}

async function findKey(search: SearchAll): Promise<Found | undefined> {
  const { cache, kind, defaults } = search;
  if (kind !== undefined && kind.key === undefined) return undefined;
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
  return defaults ? fromVariable(search, kind?.key?.variable) : undefined;
}

function fromVariable({ env, warnings }: Search, name: string | undefined): Found | undefined {
  const text = name === undefined ? undefined : env[name]?.trim();
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

interface TriedClient {
  readonly client?: FoundClient;
  /** Why a file that matters could not be understood. */
  readonly error?: HandpickError;
  /** Why one that is shared was left out. */
  readonly doubt?: string;
}

/**
 * Reads the configuration of the kind's client. One that cannot be understood is passed over only if
 * nothing of it can matter but the key: without it we might send a token to the wrong server.
 */
async function tryClient(search: Search): Promise<TriedClient> {
  const { cache, kind, warnings } = search;
  if (kind?.client === undefined) return {};
  const isNamed = cache.clientFile !== undefined;
  const path = cache.clientFile ?? (await kind.client.path(search.env));
  try {
    const client = await findClient(search, { client: kind.client, path });
    return client === undefined ? {} : { client };
  } catch (error) {
    if (!(error instanceof HandpickError)) throw error;
    if (error.code === "CONFIG_UNTRUSTED") throw withNamingHint(error, cache.foundFile);
    const text = `file ${path} is ignored: ${error.message}`;
    if (kind.client.isShared && !isNamed) return { doubt: text };
    warnings.push(text);
    return { error };
  }
}

interface ClientPlace {
  readonly client: ClientFile;
  /** The file that the table names, or that of the client. */
  readonly path: string;
}

async function findClient(search: Search, place: ClientPlace): Promise<FoundClient | undefined> {
  const { cache, env } = search;
  const { client } = place;
  // What is wrong with a file matters only if something of it counts.
  const warnings: string[] = [];
  const found = await readClientFile({ ...search, warnings }, place);
  if (found === undefined) return undefined;
  const { path: file, source, isNamed } = found;
  // A variable in a file of somebody's checkout could be any secret of ours.
  const known = isNamed && cache.foundFile !== undefined ? undefined : env;
  const { url, host, clientFile } = cache;
  const options = { file, env: known, url, host, isNamed: clientFile !== undefined };
  const config = client.parse(found.text, options);
  const isUsed = isNamed || !client.isShared || config.login !== undefined;
  search.warnings.push(...(isUsed ? warnings : []), ...config.warnings);
  return { ...config, source, isNamed };
}

async function readClientFile(
  search: Search,
  { client, path }: ClientPlace,
): Promise<(FoundFile & { readonly isNamed: boolean }) | undefined> {
  const { cache } = search;
  const id = `${client.name}@${cache.name}`;
  const given = await fromSystemd(search, { id, content: "configuration" });
  if (given !== undefined) return { ...given, isNamed: false };
  const isNamed = cache.clientFile !== undefined;
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

function foundIn(secret: Secret | undefined, client: FoundClient | undefined): Found | undefined {
  return secret && client && { text: secret.reveal().trim(), source: client.source };
}

/** Reads the file that the configuration of the kind's client names for the token. */
async function fromClientFile(
  client: FoundClient | undefined,
  search: Search,
): Promise<Found | undefined> {
  const path = client?.tokenFile;
  if (client === undefined || path === undefined) return undefined;
  const file = secretFile(believed(search), { path, content: "token" });
  const text = (await readSecretFile(file))?.trim();
  if (text) return { text, source: `file ${path}` };
  const found = text === undefined ? "does not exist" : "is empty";
  search.warnings.push(`file ${path}, which ${client.source} names for the token, ${found}`);
  return undefined;
}

function toToken({ text, source }: Found): Secret {
  const fault = tokenFault(text);
  if (fault === undefined) return new Secret(text);
  const message = `Cannot use the token from ${source}: it must be one word of visible ASCII${fault}`;
  throw new HandpickError("CONFIG_INVALID", message, {
    hint: "Put the token alone there, as the service showed it.",
  });
}

function toKey(
  { text, source }: Found,
  { cache, kind }: Pick<Search, "cache" | "kind">,
): SecretKey {
  try {
    const key = parseSecretKey(text, kind?.key?.defaultName(cache.url));
    if (key.name !== undefined) return key;
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const message = `Cannot use the signing key from ${source}: ${faultOf(cause)}`;
    throw new HandpickError("KEY_INVALID", message, {
      cause,
      hint: "Give it as name:base64 or as base64 alone, 64 bytes, as handpick keygen writes it.",
    });
  }
  throw new HandpickError(
    "KEY_INVALID",
    `Cannot use the signing key from ${source}: it has no name`,
    {
      hint: "Readers find the key by its name: write NAME: before it, as handpick keygen does.",
    },
  );
}
