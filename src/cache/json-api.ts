import type { Clock } from "../clock.ts";
import { HandpickError } from "../error.ts";
import type { HttpClient } from "../http/http-client.ts";
import type { HttpResponse } from "../http/http-message.ts";
import { retry } from "../http/retry.ts";
import type { RetryNotice, RetryOptions } from "../http/retry.ts";
import { isSuccess } from "../http/status-error.ts";
import type { Secret } from "../secret.ts";
import { FIRST_CONTACT_MS, FIRST_PATIENCE, firstContact } from "./first-contact.ts";

/** One call of an API that speaks JSON. */
export interface JsonCall {
  /** As it follows "Cannot" in a message; name the cache by {@link JsonApi.label}. */
  readonly action: string;
  readonly method: "GET" | "POST";
  readonly url: URL;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly maxBytes?: number | undefined;
}

export interface JsonApiOptions {
  /** The name users gave the cache, for messages. */
  readonly name: string;
  readonly token: Secret | undefined;
  readonly client: HttpClient;
  readonly clock: Clock;
  readonly random: (() => number) | undefined;
  readonly onRetry: ((notice: RetryNotice) => void) | undefined;
  /** How long {@link JsonApi.firstContact} may take altogether. @default {30_000} */
  readonly firstContactMs: number | undefined;
  /** The servers that have this API, such as `a Cachix server`. */
  readonly servers: string;
}

/** How long to go on. */
export type Patience = Pick<RetryOptions, "offlineMs" | "triesMs">;

/** Speaks HTTP with the server of one cache. Answers are returned whatever their status. */
export class JsonApi {
  readonly client: HttpClient;
  readonly clock: Clock;
  /** `cache "NAME"`, for messages. */
  readonly label: string;
  readonly #options: JsonApiOptions;

  constructor(options: JsonApiOptions) {
    this.client = options.client;
    this.clock = options.clock;
    this.label = `cache ${JSON.stringify(options.name)}`;
    this.#options = options;
  }

  /** The header with the token, for requests to the server itself. */
  get authorization(): Readonly<Record<string, string>> {
    const { token } = this.#options;
    return token === undefined ? {} : { authorization: `Bearer ${token.reveal()}` };
  }

  /** Calls until there is an answer that will not change by itself. */
  call(call: JsonCall, signal: AbortSignal, patience?: Patience): Promise<HttpResponse> {
    return this.retry(() => this.callOnce(call, signal), signal, patience);
  }

  /**
   * Calls without repetition, as a part of an attempt that is repeated as a whole.
   *
   * @throws {HandpickError} `CACHE_PROTOCOL` if a page for people is said to be the success.
   */
  async callOnce(call: JsonCall, signal: AbortSignal): Promise<HttpResponse> {
    const { action, method, url, body, maxBytes } = call;
    const response = await this.client.request({
      action,
      method,
      url,
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...this.authorization,
      },
      body: body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body)),
      maxBytes,
      signal,
    });
    assertNoPage(response);
    return response;
  }

  /** Calls for the first time: a server that accepts and stays silent, or trickles, shows soon as well. */
  async firstContact(call: JsonCall, signal: AbortSignal): Promise<HttpResponse> {
    const { firstContactMs: limitMs = FIRST_CONTACT_MS, servers } = this.#options;
    const hint = `Check that the host of this cache is ${servers} and healthy.`;
    const options = { action: call.action, limitMs, hint, signal };
    return await firstContact(options, (signal) => this.call(call, signal, FIRST_PATIENCE));
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
}

/**
 * Refuses a success that is a page for people: a login page on the way says 200 to everything, and some
 * answers have nothing in them to look at.
 *
 * @throws {HandpickError} `CACHE_PROTOCOL`
 */
export function assertNoPage(response: HttpResponse): void {
  if (!isSuccess(response) || !/^\s*</.test(response.body.toString("latin1", 0, 100))) return;
  throw new HandpickError(
    "CACHE_PROTOCOL",
    `Cannot ${response.action}: expected JSON, received a page of HTML`,
    { hint: "Check the host of this cache, and that no login page of a network is in between." },
  );
}
