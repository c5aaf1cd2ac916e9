import { Budget } from "../../budget.ts";
import { type Clock, systemClock } from "../../clock.ts";
import { createHttpClient, type HttpClient } from "../../http/http-client.ts";
import type { HttpRequest, HttpResponse } from "../../http/http-message.ts";
import { retry, type RetryOptions } from "../../http/retry.ts";
import { isAbsent, isPage, isSuccess } from "../../http/status-error.ts";
import { authorizationOf } from "../authorization.ts";
import { FIRST_CONTACT_MS, FIRST_PATIENCE, firstContact } from "../first-contact.ts";
import type { OpenCacheOptions } from "../kind.ts";
import type {
  LargeName,
  LargeObject,
  ObjectRequest,
  ObjectStore,
  StoredObject,
} from "../layout/object-store.ts";
import { QUESTIONS_AT_ONCE } from "../layout/layout-cache.ts";
import { answerError, pageError } from "./answer-error.ts";
import { StagedNar, type WholeFile } from "./staged-nar.ts";

/** How servers say that they know no HEAD. */
const NO_HEAD: readonly number[] = [405, 501];
/** NARs from this size on are on disk until they are sent, so few are on their way at once. */
const LARGE_NAR_BYTES = 16 << 20;
const LARGE_NARS_AT_ONCE = 8;

export interface HttpObjectsOptions extends Pick<
  OpenCacheOptions,
  "token" | "login" | "env" | "clock" | "random" | "timeouts" | "onRetry" | "firstContactMs"
> {
  /** The address below which the files lie, with a slash at its end. */
  readonly base: URL;
}

/** Files on a web server that takes PUT, as those with WebDAV do. */
export class HttpObjects implements ObjectStore {
  readonly readUrl: string;
  readonly #base: URL;
  readonly #options: HttpObjectsOptions;
  readonly #clock: Clock;
  readonly #client: HttpClient;
  readonly #authorization: string | undefined;
  readonly #largeNars = new Budget(LARGE_NARS_AT_ONCE);
  /** True once the server has answered. */
  #isKnown = false;

  constructor(options: HttpObjectsOptions) {
    const { base, env, timeouts, clock = systemClock } = options;
    this.readUrl = base.href.replace(/\/$/, "");
    this.#base = base;
    this.#options = options;
    this.#clock = clock;
    this.#client = createHttpClient({ env, timeouts, requestsAtOnce: QUESTIONS_AT_ONCE });
    this.#authorization = authorizationOf(options);
  }

  async get(name: string, request: ObjectRequest): Promise<Buffer | undefined> {
    const response = await this.#ask(name, request);
    if (isAbsent(response)) return undefined;
    if (!isSuccess(response)) throw answerError(response);
    return response.body;
  }

  async put({ name, bytes, contentType }: StoredObject, request: ObjectRequest): Promise<void> {
    const headers = { "content-type": contentType };
    const send = (): Promise<HttpResponse> =>
      this.#send(name, { ...request, method: "PUT", headers, body: bytes });
    assertStored(await this.#retried(send, request));
  }

  async sizeOf(name: string, request: ObjectRequest): Promise<number | undefined> {
    const send = () => this.#send(name, { ...request, method: "HEAD" });
    const response = await this.#retried(send, request);
    if (isAbsent(response)) return undefined;
    if (NO_HEAD.includes(response.status)) return NaN;
    if (!isSuccess(response)) throw answerError(response);
    return Number(response.headers["content-length"] ?? NaN);
  }

  async startLarge(name: LargeName, { signal }: ObjectRequest): Promise<LargeObject> {
    const isLarge = name.narSize >= LARGE_NAR_BYTES;
    const release = isLarge ? await this.#largeNars.take(1, signal) : undefined;
    return new StagedNar({
      name,
      send: (file, request) => this.#putLarge(file, request),
      onClosed: () => release?.(),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
  }

  async #ask(name: string, request: ObjectRequest): Promise<HttpResponse> {
    const ask = (signal: AbortSignal, patience = {}): Promise<HttpResponse> => {
      const send = () => this.#send(name, { ...request, signal, method: "GET" });
      return this.#retried(send, { signal, ...patience });
    };
    if (this.#isKnown) return await ask(request.signal);
    const { firstContactMs: limitMs = FIRST_CONTACT_MS } = this.#options;
    const hint = "Check the url of this cache, and that its server is healthy.";
    const first = { ...request, limitMs, hint };
    const response = await firstContact(first, (signal) => ask(signal, FIRST_PATIENCE));
    this.#isKnown = true;
    return response;
  }

  /** Sends nothing where the server has the file by now: an answer may have been lost, or others were first. */
  async #putLarge(file: WholeFile, request: ObjectRequest): Promise<void> {
    const headers = { "content-type": file.contentType };
    const { body } = file;
    const response = await this.#retried(async () => {
      if (!file.replaces) {
        const found = await this.#send(file.name, { ...request, method: "HEAD" });
        const isThere = Number(found.headers["content-length"] ?? NaN) === file.sizeBytes;
        if (isSuccess(found) && isThere) return found;
      }
      return await this.#send(file.name, { ...request, method: "PUT", headers, body });
    }, request);
    assertStored(response);
  }

  #send(name: string, request: Omit<HttpRequest, "url">): Promise<HttpResponse> {
    const authorization = this.#authorization;
    const credentials = authorization === undefined ? {} : { authorization };
    const headers = { ...request.headers, ...credentials };
    // Names of outputs and of derivations may have what means something else in a URL.
    const url = new URL(name.replaceAll(/[?#%]/g, encodeURIComponent), this.#base);
    return this.#client.request({ ...request, url, headers });
  }

  #retried(
    attempt: () => Promise<HttpResponse>,
    patience: Pick<RetryOptions, "signal" | "offlineMs">,
  ): Promise<HttpResponse> {
    const { random, onRetry } = this.#options;
    return retry(attempt, { ...patience, clock: this.#clock, random, onRetry });
  }
}

function assertStored(response: HttpResponse): void {
  if (!isSuccess(response)) throw answerError(response);
  // Servers that store a file may answer 201 with a page about it.
  if (response.status === 200 && isPage(response)) throw pageError(response);
}
