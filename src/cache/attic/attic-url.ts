import { HandpickError } from "../../error.ts";

/** The next step after answers that Attic never gives. */
export const FOREIGN_HINT = "Check that the host of this cache is an Attic server.";

/** A cache and the server that has it. */
export interface AtticRef {
  /** A host, with a port or without, or the name of a server in the configuration of Attic's client. */
  readonly server: string;
  readonly cacheName: string;
}

const SERVER = String.raw`(\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?|[A-Za-z0-9][\w.+-]{0,252}(?::\d{1,5})?)`;
/** The server takes no other names of caches. */
const CACHE = String.raw`([A-Za-z0-9][\w+-]{0,49})`;
const ATTIC_URL = new RegExp(`^attic://${SERVER}/${CACHE}/?$`);
/** The notation of Attic's client, `SERVER:CACHE`, and URLs with too few slashes. */
const LIKE_A_URL = new RegExp(
  `^(?:attic:/?(?!/)${SERVER}/${CACHE}|(?!attic:|cachix:|file:)([A-Za-z0-9][\\w.+-]{0,63}):${CACHE})$`,
);
const SHAPE =
  "must be attic://SERVER/CACHE, SERVER being a host or a server of Attic's config.toml, CACHE up to 50 letters, digits and -_+";

/** The rule that a URL of `attic:` breaks, to be said after "it"; undefined if none. */
export function atticUrlFault(url: string): string | undefined {
  return readAtticUrl(url) === undefined ? SHAPE : undefined;
}

/**
 * Reads `attic://SERVER/CACHE`.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is anything else.
 */
export function parseAtticUrl(url: string): AtticRef {
  const read = readAtticUrl(url);
  if (read !== undefined) return read;
  throw new HandpickError("CACHE_URL_UNSUPPORTED", `Cannot use the URL of the cache: it ${SHAPE}`);
}

/** Spells the URL of a cache. */
export function atticUrl({ server, cacheName }: AtticRef): string {
  return `attic://${server}/${cacheName}`;
}

/** The base URL of a server that is named by its host. */
export function serverUrl(server: string): string {
  return `https://${server}`;
}

/** Returns the URL that is meant by `SERVER:CACHE`, as Attic's client takes it, or with too few slashes. */
export function guessAtticUrl(text: string): string | undefined {
  const [, host, cache, name, cacheOfName] = LIKE_A_URL.exec(text) ?? [];
  const [server, cacheName] = [host ?? name, cache ?? cacheOfName];
  if (server === undefined || cacheName === undefined) return undefined;
  const url = atticUrl({ server, cacheName });
  return atticUrlFault(url) === undefined ? url : undefined;
}

function readAtticUrl(url: string): AtticRef | undefined {
  const [, server, cacheName] = ATTIC_URL.exec(url) ?? [];
  if (server === undefined || cacheName === undefined) return undefined;
  return URL.canParse(serverUrl(server)) ? { server, cacheName } : undefined;
}
