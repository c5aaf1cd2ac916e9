import { type Clock, systemClock } from "../../clock.ts";
import { HandpickError } from "../../error.ts";
import { excerpt } from "../../http/excerpt.ts";
import { createHttpClient, type HttpClient } from "../../http/http-client.ts";
import {
  endpointOf,
  type HttpResponse,
  type StreamedResponse,
  type Timeouts,
} from "../../http/http-message.ts";
import { retry, type RetryNotice, type RetryOptions } from "../../http/retry.ts";
import {
  isAbsent,
  isRefusal,
  isSuccess,
  statusError,
  statusMessage,
} from "../../http/status-error.ts";
import { type NixCacheInfo, parseNixCacheInfo } from "../../nix/cache-info.ts";
import { FormatError } from "../../nix/format-error.ts";
import { type NarInfo, parseNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, storeDirOf, type StorePath } from "../../nix/store-path.ts";
import type { CacheReader, NarOptions } from "../reader.ts";

const TIMEOUTS: Timeouts = { idleMs: 15_000, answerMs: 15_000, totalMs: 30_000 };

export interface HttpReaderOptions extends Pick<
  RetryOptions,
  "offlineMs" | "delaysMs" | "triesMs"
> {
  /** For messages, such as "upstream". */
  readonly role: string;
  /** How many requests are under way at once. @default {64} */
  readonly requestsAtOnce?: number | undefined;
  /** Sent to the origin of the cache alone. @default {none: as readers without a password} */
  readonly authorization?: string | undefined;
  /** Where proxies and certificate files are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** Told whenever something is about to be asked again. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/**
 * Opens a cache of the web for reading. Nothing is sent yet. Settings that Nix takes in the query
 * (`?priority=`) are its own.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if the URL is not one of http or https;
 *   `CONFIG_INVALID` or `FILE_UNUSABLE` if proxy or certificate file cannot be used.
 */
export function openHttpReader(text: string, options: HttpReaderOptions): CacheReader {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (url === null || !isWeb || url.username !== "" || url.password !== "") {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot ask ${options.role} ${excerpt(text.replace(/\/\/[^/]*@/, "//…@"))}: expected http:// or https:// without credentials`,
      { hint: "List only caches that every reader reaches without a password." },
    );
  }
  const base = new URL(`${url.origin}${url.pathname.replace(/\/*$/, "/")}`);
  return new HttpReader(base, options);
}

class HttpReader implements CacheReader {
  readonly url: string;
  readonly #base: URL;
  readonly #options: HttpReaderOptions;
  readonly #client: HttpClient;
  #wantsPassword = false;

  constructor(base: URL, options: HttpReaderOptions) {
    this.url = base.href.replace(/\/$/, "");
    this.#base = base;
    this.#options = options;
    this.#client = createHttpClient({
      env: options.env,
      timeouts: options.timeouts ?? TIMEOUTS,
      requestsAtOnce: options.requestsAtOnce,
    });
  }

  get wantsPassword(): boolean {
    return this.#wantsPassword;
  }

  async info(signal: AbortSignal): Promise<NixCacheInfo> {
    const response = await this.#get("nix-cache-info", { about: "its nix-cache-info", signal });
    return parseNixCacheInfo(response?.body.toString() ?? "");
  }

  async narInfo(path: StorePath, signal: AbortSignal): Promise<NarInfo | undefined> {
    const name = `${hashPartOf(path)}.narinfo`;
    const response = await this.#get(name, { about: "a path", signal });
    return response && readNarInfo(response, path);
  }

  /** Asks for one byte: addresses that caches send on to are often good for GET only. */
  async narSize(text: string, signal: AbortSignal): Promise<number | undefined> {
    const url = this.#narUrl(text);
    const action = `look for a NAR of ${this.#options.role} ${endpointOf(url)}`;
    const headers = { range: "bytes=0-0", ...this.#credentialsFor(url) };
    const request = { action, method: "GET", url, headers, signal } as const;
    const response = await this.#retried(
      () => this.#client.request(request, ({ status, body }) => drain(status === 206, body)),
      signal,
    );
    const { status, headers: found } = response;
    if (isLacking(response)) return undefined;
    if (status === 206 || status === 416) {
      return Number(/\/(\d{1,15})$/.exec(found["content-range"] ?? "")?.[1] ?? NaN);
    }
    if (!isSuccess(response)) throw statusError(response);
    return Number(found["content-length"] ?? NaN);
  }

  async *nar(text: string, { signal, range }: NarOptions): AsyncIterable<Uint8Array> {
    const url = this.#narUrl(text);
    const [first, last] = range ?? [0, Infinity];
    const action = `read a NAR of ${this.#options.role} ${endpointOf(url)}`;
    const arrived = Promise.withResolvers<StreamedResponse>();
    const used = Promise.withResolvers<void>();
    const asked = range === undefined ? {} : { range: `bytes=${first}-${last}` };
    const headers = { ...asked, ...this.#credentialsFor(url) };
    const request = { action, method: "GET", url, headers, maxBytes: Infinity, signal } as const;
    const running = this.#client.request(request, async (response) => {
      arrived.resolve(response);
      await used.promise;
    });
    running.then((response) => arrived.reject(narError(response)), arrived.reject);
    try {
      const { status, headers, body } = await arrived.promise;
      const isAsked =
        range !== undefined && headers["content-range"]?.startsWith(`bytes ${first}-`);
      if (status === 206 && isAsked !== true) {
        const found = headers["content-range"] ?? "none";
        throw new HandpickError(
          "CACHE_PROTOCOL",
          `Cannot ${action}: expected a range from byte ${first}, received ${excerpt(found)}`,
        );
      }
      // A server that knows no ranges answers 200 and sends all.
      const skipped = status === 206 ? 0 : first;
      yield* slice(body, [skipped, last - first + skipped]);
    } finally {
      used.resolve();
      await running.catch(() => undefined); // told by the body, if it was read so far
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
  }

  /**
   * Nix follows addresses of other servers as well. Up to 2.31 it puts all that does not begin as one behind the
   * address of the cache, and later versions resolve it as a browser does: what this makes a difference to is refused.
   */
  #narUrl(text: string): URL {
    const isPlain = /^(?:https?:\/\/|(?![a-z][a-z0-9+.-]*:|\/))[^\\]*$/i.test(text);
    const url = isPlain ? URL.parse(text, this.#base.href) : null;
    const isWeb = url?.protocol === "https:" || url?.protocol === this.#base.protocol;
    if (url !== null && isWeb && url.username === "" && url.password === "") return url;
    throw new HandpickError(
      "CACHE_PROTOCOL",
      `Cannot read a NAR of ${this.#options.role} ${this.url}: expected a URL of ${this.#base.protocol}// without credentials, found ${excerpt(text)}`,
    );
  }

  /** Undefined where it is not there. */
  async #get(
    name: string,
    { about, signal }: { readonly about: string; readonly signal: AbortSignal },
  ): Promise<HttpResponse | undefined> {
    const url = new URL(name, this.#base);
    const action = `ask ${this.#options.role} ${endpointOf(url)} for ${about}`;
    const headers = this.#credentialsFor(url);
    const ask = (): Promise<HttpResponse> =>
      this.#client.request({ action, method: "GET", url, headers, signal });
    const response = await this.#retried(ask, signal);
    if (response.status === 401 && headers["authorization"] === undefined) {
      this.#wantsPassword = true;
    }
    if (isLacking(response)) return undefined;
    if (!isSuccess(response)) throw statusError(response);
    return response;
  }

  /** A narinfo may name a NAR on any server. */
  #credentialsFor({ origin }: URL): Readonly<Record<string, string>> {
    const { authorization } = this.#options;
    return authorization === undefined || origin !== this.#base.origin ? {} : { authorization };
  }

  #retried(ask: () => Promise<HttpResponse>, signal: AbortSignal): Promise<HttpResponse> {
    const { clock = systemClock, ...options } = this.#options;
    return retry(ask, { ...options, clock, signal });
  }
}

/** Reads a body to its end, where that is near: the connection can be used again. */
async function drain(isShort: boolean, body: AsyncIterable<Buffer>): Promise<void> {
  if (!isShort) return;
  for await (const _ of body);
}

/**
 * Returns true for the answer of a cache that lacks a path. Storage that may not be listed answers 403 for it, and a
 * cache which readers without a password do not have 401.
 */
function isLacking(response: HttpResponse): boolean {
  return isAbsent(response) || isRefusal(response);
}

function narError(response: HttpResponse): HandpickError {
  if (!isLacking(response)) return statusError(response);
  return new HandpickError("CACHE_PROTOCOL", statusMessage(response));
}

/** The bytes from `first` to `last`, both included. */
async function* slice(
  body: AsyncIterable<Uint8Array>,
  [first, last]: readonly [first: number, last: number],
): AsyncIterable<Uint8Array> {
  let offset = 0;
  for await (const piece of body) {
    const wanted = piece.subarray(Math.max(first - offset, 0), last + 1 - offset);
    offset += piece.length;
    if (wanted.length > 0) yield wanted;
    if (offset > last) return;
  }
}

/** @throws {FormatError} If it is none of this path: login pages, for one, say 200 to everything. */
function readNarInfo({ action, body }: HttpResponse, path: StorePath): NarInfo {
  let narInfo: NarInfo;
  try {
    narInfo = parseNarInfo(body.toString(), { storeDir: storeDirOf(path) });
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const found = body.length === 0 ? "nothing" : "something else";
    const message = `Cannot ${action}: expected its narinfo, found ${found}`;
    throw new FormatError("narinfo", message, { cause });
  }
  if (narInfo.storePath === path) return narInfo;
  const message = `Cannot ${action}: expected its narinfo, found that of another path`;
  throw new FormatError("narinfo", message);
}
