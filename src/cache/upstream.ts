import { HandpickError } from "../error.ts";
import type { HashPart } from "../nix/store-path.ts";
import { systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { excerpt } from "./excerpt.ts";
import { forEachConcurrent } from "./for-each-concurrent.ts";
import { createHttpClient } from "./http-client.ts";
import type { HttpClient } from "./http-client.ts";
import { endpointOf } from "./http-message.ts";
import type { Timeouts } from "./http-message.ts";
import { retry } from "./retry.ts";
import type { RetryNotice } from "./retry.ts";
import { isSuccess, statusError } from "./status-error.ts";

const REQUESTS_AT_ONCE = 64;
/** Nothing was sent yet, so a host that does not answer ends the run soon. */
const OFFLINE_MS = 4_000;

export interface UpstreamOptions {
  readonly signal: AbortSignal;
  /** Where proxies and certificate files are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** Told whenever something is about to be asked again. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/**
 * The subset of `hashParts` that at least one of the binary caches at `urls` serves. They are
 * asked in order, each only for what those before it lack.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if a URL is not one of http or https;
 *   `NETWORK`, `CACHE_UNAVAILABLE`, `CACHE_REFUSED` or `CACHE_PROTOCOL` if one did not tell.
 */
export async function availableUpstream(
  hashParts: Iterable<HashPart>,
  urls: readonly string[],
  options: UpstreamOptions,
): Promise<Set<HashPart>> {
  const { signal, env, timeouts } = options;
  const bases = urls.map(parseUpstream);
  const asked = new Set(hashParts);
  const available = new Set<HashPart>();
  const client = createHttpClient({ env, timeouts });
  try {
    for (const base of bases) {
      const unknown = asked.difference(available);
      await forEachConcurrent(
        unknown,
        { limit: REQUESTS_AT_ONCE, signal },
        async (hash, signal) => {
          const url = new URL(`${hash}.narinfo`, base);
          if (await isServed(client, url, { ...options, signal })) available.add(hash);
        },
      );
    }
  } finally {
    client.close();
  }
  return available;
}

/** The folder of the cache. Settings that Nix takes in the query (`?priority=`) are its own. */
function parseUpstream(text: string): URL {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (url === null || !isWeb || url.username !== "" || url.password !== "") {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot ask upstream ${excerpt(text.replace(/\/\/[^/]*@/, "//…@"))}: expected http:// or https:// without credentials`,
      { hint: "List only caches that every reader reaches without a password." },
    );
  }
  return new URL(`${url.origin}${url.pathname.replace(/\/*$/, "/")}`);
}

async function isServed(client: HttpClient, url: URL, options: UpstreamOptions): Promise<boolean> {
  const { signal, clock = systemClock, random, onRetry } = options;
  const action = `ask upstream ${endpointOf(url)} for a path`;
  const response = await retry(() => client.request({ action, method: "HEAD", url, signal }), {
    clock,
    random,
    onRetry,
    offlineMs: OFFLINE_MS,
    signal,
  });
  // Storage that may not be listed answers 403 for what it does not have.
  if (response.status === 404 || response.status === 403) return false;
  if (!isSuccess(response)) throw statusError(response);
  // A login page answers everything; taking it for a path would leave that path out everywhere.
  if (response.headers["content-type"]?.startsWith("text/html")) throw noCache(action);
  return true;
}

function noCache(action: string): HandpickError {
  return new HandpickError(
    "CACHE_PROTOCOL",
    `Cannot ${action}: expected a cache, found web pages`,
    {
      hint: "Check the upstreams of this cache, and that no login page answers in their place.",
    },
  );
}
