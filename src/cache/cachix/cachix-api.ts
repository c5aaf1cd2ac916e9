import { HandpickError } from "../../error.ts";
import type { ErrorCode } from "../../error.ts";
import type { Clock } from "../../clock.ts";
import type { HttpClient } from "../../http/http-client.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { isPage, isRefusal, statusError } from "../../http/status-error.ts";
import { JsonApi, type JsonApiOptions, type JsonCall, type Patience } from "../json-api.ts";

/** One call of the API. */
export interface Call extends Omit<JsonCall, "url"> {
  /** The segments after `/api/v1/cache/NAME`. */
  readonly path: readonly string[];
  readonly query?: Readonly<Record<string, string>>;
}

export interface CachixApiOptions extends Omit<JsonApiOptions, "servers"> {
  readonly cacheName: string;
  readonly base: URL;
}

/** Speaks HTTP with the service about one cache. Answers are returned whatever their status. */
export class CachixApi {
  readonly base: URL;
  /** Set once the service said that our token may only read. */
  isReadOnly = false;
  readonly #json: JsonApi;
  readonly #cacheName: string;

  constructor({ cacheName, base, ...options }: CachixApiOptions) {
    this.base = base;
    this.#cacheName = cacheName;
    this.#json = new JsonApi({ ...options, servers: "a Cachix server" });
  }

  get client(): HttpClient {
    return this.#json.client;
  }

  get clock(): Clock {
    return this.#json.clock;
  }

  /** `cache "NAME"`, for messages. */
  get label(): string {
    return this.#json.label;
  }

  /** Calls until there is an answer that will not change by itself. */
  call(call: Call, signal: AbortSignal, patience?: Patience): Promise<HttpResponse> {
    return this.#json.call(this.#located(call), signal, patience);
  }

  /** See {@link JsonApi.callOnce}. */
  callOnce(call: Call, signal: AbortSignal): Promise<HttpResponse> {
    return this.#json.callOnce(this.#located(call), signal);
  }

  /** See {@link JsonApi.firstContact}. */
  firstContact(call: Call, signal: AbortSignal): Promise<HttpResponse> {
    return this.#json.firstContact(this.#located(call), signal);
  }

  /** See {@link JsonApi.retry}. */
  retry(
    attempt: () => Promise<HttpResponse>,
    signal: AbortSignal,
    patience?: Patience,
  ): Promise<HttpResponse> {
    return this.#json.retry(attempt, signal, patience);
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

  #located({ path, query = {}, ...call }: Call): JsonCall {
    const { base } = this;
    const segments = ["api", "v1", "cache", this.#cacheName, ...path];
    const pathname = [base.pathname.replace(/\/$/, ""), ...segments.map(encodeURIComponent)];
    const search = Object.entries(query).map(
      ([key, value]) => `${key}=${encodeURIComponent(value)}`,
    );
    return { ...call, url: new URL(`${base.origin}${pathname.join("/")}?${search.join("&")}`) };
  }
}
