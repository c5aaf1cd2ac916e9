import type { ClientConfig, ClientFile } from "../cache/kind.ts";
import { HandpickError } from "../error.ts";
import {
  type Found,
  type FoundFile,
  fromSystemd,
  type Search,
  secretFile,
} from "./credential-sources.ts";
import { withNamingHint } from "./found-file.ts";
import { readSecretFile, secretFileError } from "./secret-file.ts";

/** The part for one cache of the configuration of its kind's client, and the file with it. */
export interface FoundClient extends ClientConfig {
  readonly source: string;
  /** True if the cache's own settings name it, rather than systemd or the client. */
  readonly isNamed: boolean;
}

/** The outcome of reading the configuration of a client; empty if there is none. */
export interface ClientReading {
  readonly client?: FoundClient;
  /** The reason why a file that matters could not be understood. */
  readonly error?: HandpickError;
  /** The reason why a shared file was left out, as a sentence without a full stop. */
  readonly doubt?: string;
}

/**
 * Reads the configuration of the kind's client: the file that systemd gives, that the table names, or that the
 * client has. A file that cannot be read is an `error`, and a warning; a shared one that the table does not name
 * is a `doubt`.
 *
 * @throws {HandpickError} `CONFIG_UNTRUSTED` if a found configuration may not name the file.
 */
export async function readClient(search: Search): Promise<ClientReading> {
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
  // Faults of a file matter only if something of it counts.
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

/** Returns the signing key that a client has for the cache. */
export function clientKey({ signingKey, source }: FoundClient): Found | undefined {
  return signingKey && { text: signingKey.reveal().trim(), source };
}

/** Returns the token that a client has for the cache, in its configuration or in a file that this names. */
export async function clientToken(
  { token, tokenFile: path, source }: FoundClient,
  search: Search,
): Promise<Found | undefined> {
  if (token !== undefined) return { text: token.reveal().trim(), source };
  if (path === undefined) return undefined;
  const file = secretFile(believed(search), { path, content: "token" });
  const text = (await readSecretFile(file))?.trim();
  if (text) return { text, source: `file ${path}` };
  const found = text === undefined ? "does not exist" : "is empty";
  search.warnings.push(`file ${path}, which ${source} names for the token, ${found}`);
  return undefined;
}
