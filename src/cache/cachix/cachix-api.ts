import { HandpickError } from "../../error.ts";
import type { ErrorCode } from "../../error.ts";
import type { Clock } from "../../clock.ts";
import type { HttpClient } from "../../http/http-client.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { retry } from "../../http/retry.ts";
import type { RetryNotice, RetryOptions } from "../../http/retry.ts";
import type { Secret } from "../../secret.ts";
import { isPage, isRefusal, isSuccess, statusError } from "../../http/status-error.ts";

/** One call of the API. */
export interface Call {
  /** As it follows "Cannot" in a message; name the cache by {@link CachixApi.label}. */
  readonly action: string;
  readonly method: "GET" | "POST";
  /** The segments after `/api/v1/cache/NAME`. */
  readonly path: readonly string[];
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly maxBytes?: number;
}

export interface CachixApiOptions {
  /** The name users gave the cache, for messages. */
  readonly name: string;
  readonly cacheName: string;
  readonly base: URL;
  readonly token: Secret | undefined;
  readonly client: HttpClient;
  readonly clock: Clock;
  readonly random: (() => number) | undefined;
  readonly onRetry: ((notice: RetryNotice) => void) | undefined;
}

/** How long to go on. */
export type Patience = Pick<RetryOptions, "offlineMs" | "triesMs">;

/** Speaks HTTP with the service about one cache. Answers are returned whatever their status. */
export class CachixApi {
  readonly base: URL;
  readonly client: HttpClient;
  readonly clock: Clock;
  /** `cache "NAME"`, for messages. */
  readonly label: string;
  /** Set once the service said that our token may only read. */
  isReadOnly = false;
  readonly #options: CachixApiOptions;

  constructor(options: CachixApiOptions) {
    this.base = options.base;
    this.client = options.client;
    this.clock = options.clock;
    this.label = `cache ${JSON.stringify(options.name)}`;
    this.#options = options;
  }

  /** Calls until there is an answer that will not change by itself. */
  call(call: Call, signal: AbortSignal, patience?: Patience): Promise<HttpResponse> {
    return this.retry(() => this.callOnce(call, signal), signal, patience);
  }

  /**
   * Calls without repetition, as a part of an attempt that is repeated as a whole.
   *
   * @throws {HandpickError} `CACHE_PROTOCOL` if a page for people is said to be the success: a login
   *   page on the way says 200 to everything, and some answers have nothing in them to look at.
   */
  async callOnce(call: Call, signal: AbortSignal): Promise<HttpResponse> {
    const { action, method, body, maxBytes } = call;
    const { token } = this.#options;
    const response = await this.client.request({
      action,
      method,
      url: this.#urlOf(call),
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token.reveal()}` }),
      },
      body: body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body)),
      maxBytes,
      signal,
    });
    if (!isSuccess(response) || !/^\s*</.test(response.body.toString("latin1", 0, 100))) {
      return response;
    }
    throw new HandpickError(
      "CACHE_PROTOCOL",
      `Cannot ${action}: expected JSON, received a page of HTML`,
      { hint: "Check the host of this cache, and that no login page of a network is in between." },
    );
  }

  /** See {@link retry}. */
  retry(
    attempt: () => Promise<HttpResponse>,
    signal: AbortSignal,
    patience: Patience = {},
  ): Promise<HttpResponse> {
    const { clock, random, onRetry } = this.#options;
    return retry(attempt, { clock, random, onRetry, signal, ...patience });
  }

  /** The error for an answer of the API that is no success; see {@link statusError}. */
  error(response: HttpResponse, rejected?: ErrorCode): HandpickError {
    if (!this.isReadOnly || !isRefusal(response) || isPage(response))
      return statusError(response, rejected);
    return new HandpickError(
      "CACHE_READ_ONLY",
      `Cannot ${response.action}: expected a token that may write, received status ${response.status}`,
      { hint: "Make a token with write permission for this cache." },
    );
  }

  #urlOf({ path, query = {} }: Call): URL {
    const { base } = this;
    const segments = ["api", "v1", "cache", this.#options.cacheName, ...path];
    const pathname = [base.pathname.replace(/\/$/, ""), ...segments.map(encodeURIComponent)];
    const search = Object.entries(query).map(
      ([key, value]) => `${key}=${encodeURIComponent(value)}`,
    );
    return new URL(`${base.origin}${pathname.join("/")}?${search.join("&")}`);
  }
}
