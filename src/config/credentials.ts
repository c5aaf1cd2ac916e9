import { KINDS, kindOf } from "../cache/kinds.ts";
import type { Login } from "../cache/kind.ts";
import type { SecretKey } from "../nix/key.ts";
import type { Secret } from "../secret.ts";
import { clientKey, clientToken, readClient } from "./client-credentials.ts";
import type { CacheConfig, Config } from "./config.ts";
import {
  type Found,
  fromSystemd,
  fromVariable,
  type Search,
  secretFile,
} from "./credential-sources.ts";
import { mayHaveDefaults } from "./found-config.ts";
import { readSecretFile, secretFileError } from "./secret-file.ts";
import { parseSigningKeys } from "./signing-key.ts";
import { parseToken } from "./token.ts";

/** Token or login, keys and host for a cache, and the source of each. */
export interface Credentials {
  readonly token: Secret | undefined;
  /** For people, such as `file /run/secrets/cachix`. */
  readonly tokenSource: string | undefined;
  /** Undefined where there is a token. */
  readonly login: Login | undefined;
  readonly loginSource: string | undefined;
  /** Those that sign, in this order; none where nobody signs. */
  readonly signingKeys: readonly SecretKey[];
  readonly keySource: string | undefined;
  /** Base URL of the server; undefined for the default one. */
  readonly host: string | undefined;
  /** Sentences without a full stop: what counts as absent, and who else may read secrets. */
  readonly warnings: readonly string[];
  /** Sentences that matter only where the cache refuses us: which credentials could not be read. */
  readonly doubts: readonly string[];
}

export type CredentialsOptions = Pick<Search, "env" | "uid">;

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
  const { client, error, doubt } = await readClient({ ...search, warnings: clientWarnings });
  const host = cache.host ?? client?.host;
  const usersHost = client?.isNamed === false ? client.host : undefined;
  const defaults = mayHaveDefaults(cache, { host, usersHost });
  const warnings: string[] = [];
  const all = { ...search, warnings, defaults };
  const ownToken = await findToken(all);
  const isHostKnown = cache.host !== undefined || search.kind?.keys.has("host") === false;
  // A client's file that cannot be understood may name the server that a token of ours is for.
  if (error !== undefined && (ownToken === undefined || !isHostKnown)) throw error;
  const ownKey = await findKey(all);
  const usable = client?.isNamed === true || defaults ? client : undefined;
  const token = ownToken ?? (usable && (await clientToken(usable, all)));
  const login = token === undefined ? usable?.login : undefined;
  const key = ownKey ?? (usable && clientKey(usable));
  if (!defaults && token === undefined) warnings.push(withheld(cache, host));
  return {
    token: token && parseToken(token),
    tokenSource: token?.source,
    login,
    loginSource: login && usable?.source,
    signingKeys: key === undefined ? [] : parseSigningKeys(key, search),
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
