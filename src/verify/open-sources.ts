import { authorizationOf } from "../cache/authorization.ts";
import type { CacheInfo } from "../cache/contract.ts";
import type { CacheReader } from "../cache/reader.ts";
import { netrcWord } from "../cache/http/netrc.ts";
import { openHttpReader } from "../cache/http/http-reader.ts";
import { kindOf } from "../cache/kinds.ts";
import { HandpickError } from "../error.ts";
import { parsePublicKey } from "../nix/key.ts";
import { NIXOS_CACHE, NIXOS_KEY } from "../nix/nixos-cache.ts";
import { type OpenedCache, retryNotice } from "../run/open-caches.ts";
import { readerKeys } from "../run/reader-keys.ts";
import { readerUpstreams } from "../run/upstreams.ts";
import type { Source } from "./source.ts";

/** Each path takes two: thousands of them would else be a matter of round trips. */
const REQUESTS_AT_ONCE = 128;
/** How long a server is waited for before it counts as silent. */
const PATIENCE = { offlineMs: 10_000, delaysMs: 20_000, triesMs: 60_000 } as const;

export interface SourceOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Keys that readers have besides, `name:base64` each. */
  readonly publicKeys: readonly string[];
  readonly notify?: (text: string) => void;
}

/** The servers that a reader of a cache asks. Disposing closes them, and not the cache. */
export interface Sources extends AsyncDisposable {
  readonly own: Source;
  readonly upstreams: readonly Source[];
  /** The keys that readers have, `name:base64` each. */
  readonly publicKeys: readonly string[];
  /** The line of `netrc` that readers of a private cache need, with a secret; undefined where they need none. */
  readonly netrc: string | undefined;
}

/**
 * Opens a cache as its readers have it, and the upstreams that they have besides. Credentials go to a server
 * that pushes send them to, and only where the cache is not public.
 *
 * @throws {FormatError} If one of the keys is none.
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if its readers have an address that we cannot read.
 */
export function openSources(opened: OpenedCache, info: CacheInfo, options: SourceOptions): Sources {
  const onRetry = retryNotice(opened.cache.name, options.notify);
  const web = { ...PATIENCE, requestsAtOnce: REQUESTS_AT_ONCE, env: options.env, onRetry };
  const told = [...readerKeys(opened, info), ...options.publicKeys];
  const publicKeys = [...told, NIXOS_KEY];
  const keys = publicKeys.map(parsePublicKey);
  const isKnown = told.length > 0 || info.publicKeys !== undefined;
  const own = openOwn(opened, info, web);
  const upstreams = readerUpstreams(opened.config).map((url) =>
    openHttpReader(url, { ...web, role: "upstream" }),
  );
  return {
    own: { reader: own, keys: isKnown ? keys : undefined, looksAtNars: true },
    upstreams: upstreams.map((reader) => ({
      reader,
      keys: reader.url === NIXOS_CACHE ? keys : undefined,
      looksAtNars: false,
    })),
    publicKeys,
    netrc: info.isPublic === false ? netrcFor(info.readUrl, opened) : undefined,
    [Symbol.asyncDispose]: async () => {
      for (const reader of [own, ...upstreams]) await reader[Symbol.asyncDispose]();
    },
  };
}

type WebOptions = Omit<Parameters<typeof openHttpReader>[1], "role" | "authorization">;

function openOwn(opened: OpenedCache, info: CacheInfo, web: WebOptions): CacheReader {
  const { cache } = opened;
  if (/^https?:/.test(info.readUrl)) {
    const authorization =
      info.isPublic === false ? credentialsFor(info.readUrl, opened) : undefined;
    return openHttpReader(info.readUrl, { ...web, role: "cache", authorization });
  }
  const reader = cache.openReader?.();
  if (reader !== undefined) return reader;
  throw new HandpickError(
    "CACHE_URL_UNSUPPORTED",
    `Cannot read cache "${cache.name}" as its readers do: handpick does not know ${info.readUrl}`,
    { hint: "Set read-url in its table to where readers find it." },
  );
}

/** The header by which a server of readers may know us. */
function credentialsFor(readUrl: string, opened: OpenedCache): string | undefined {
  return mayKnowUs(readUrl, opened) ? authorizationOf(opened.credentials) : undefined;
}

function netrcFor(readUrl: string, opened: OpenedCache): string | undefined {
  if (!mayKnowUs(readUrl, opened)) return undefined;
  const { token, login } = opened.credentials;
  const { user, password } =
    token === undefined ? (login ?? {}) : { user: "token", password: token };
  if (password === undefined) return undefined;
  const host = new URL(readUrl).hostname.replace(/^\[(.*)\]$/, "$1");
  const words = user === undefined || user === "" ? [] : ["login", netrcWord(user)];
  return ["machine", host, ...words, "password", `${netrcWord(password.reveal())}\n`].join(" ");
}

/** Returns true for a server that pushes send our credentials to. */
function mayKnowUs(
  readUrl: string,
  { config: { url }, credentials: { host } }: OpenedCache,
): boolean {
  if (!/^https?:/.test(readUrl)) return false;
  const kind = kindOf(url);
  const server = host ?? kind?.serverOf(url);
  const target = new URL(readUrl);
  // Attic's URLs have no scheme of the web.
  const origin = server?.includes("://") === false ? `https://${server}` : server;
  const pushed = origin === undefined ? undefined : new URL(origin);
  // The service of a kind has servers of several names, which know each other's tokens.
  const isOfKind = (one: URL): boolean => kind?.isOwnHost(one) === true;
  const isOwn = isOfKind(target) && (pushed === undefined || isOfKind(pushed));
  return isOwn || pushed?.origin === target.origin;
}
