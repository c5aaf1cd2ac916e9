import { type PutObjectCommandInput, S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";

import { systemClock, type Clock } from "../../clock.ts";
import { createHttpClient, type HttpClient } from "../../http/http-client.ts";
import { endpointOf, type HttpResponse } from "../../http/http-message.ts";
import { retry, type RetryOptions } from "../../http/retry.ts";
import { isSuccess } from "../../http/status-error.ts";
import { orAborted } from "../../or-aborted.ts";
import { FIRST_CONTACT_MS, FIRST_PATIENCE, firstContact } from "../first-contact.ts";
import { QUESTIONS_AT_ONCE } from "../layout/layout-cache.ts";
import type { ObjectRequest } from "../layout/object-store.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { type ObjectCall, ObjectRequests } from "./object-requests.ts";
import { errorCodeOf, isSkewed, s3Error, sdkError, retryStatusOf } from "./s3-error.ts";
import type { S3Location } from "./s3-url.ts";
import { createSdkHandler, type SendOptions } from "./sdk-handler.ts";

/** On a slow line a part takes minutes, and one that is cut near its end is to go again. */
const TRIES_MS = 900_000;

export interface S3BucketOptions extends Pick<
  OpenCacheOptions,
  "env" | "clock" | "random" | "timeouts" | "onRetry" | "firstContactMs" | "abortMs"
> {
  readonly location: S3Location;
  /** The cache, for messages. */
  readonly label: string;
}

/** Sends a command of the SDK. */
export type SendCommand<T> = (sdk: S3Client, options: SendOptions) => Promise<T>;

export interface BucketInput {
  Bucket: string;
  RequestPayer?: "requester";
}

/** An answer that is no success; `s3Error` says what it means. */
export interface Failed {
  readonly failed: HttpResponse;
}

/**
 * The bucket of a cache: the SDK signs and finds credentials, our own client sends, and {@link retry}
 * repeats, with a new signature each time.
 */
export class S3Bucket implements Disposable {
  readonly location: S3Location;
  readonly label: string;
  readonly clock: Clock;
  readonly abortMs: number;
  readonly #options: S3BucketOptions;
  readonly #client: HttpClient;
  readonly #sdk: S3Client;
  readonly #objects: ObjectRequests;
  /** True once the server has answered. */
  #isKnown = false;
  #serverTimeMs: number | undefined;

  constructor(options: S3BucketOptions) {
    const { location, label, clock, abortMs, env, timeouts } = options;
    this.location = location;
    this.label = label;
    this.clock = clock ?? systemClock;
    this.abortMs = abortMs ?? 3000;
    this.#options = options;
    this.#client = createHttpClient({ env, timeouts, requestsAtOnce: QUESTIONS_AT_ONCE });
    this.#sdk = new S3Client(this.#configuration());
    this.#objects = new ObjectRequests({ sdk: this.#sdk, client: this.#client, location });
  }

  /** The time that the last answer gave; undefined if it gave none. */
  get serverTimeMs(): number | undefined {
    return this.#serverTimeMs;
  }

  /** The parameters of a command about an object. */
  object(name: string): BucketInput & { Key: string } {
    return { ...this.bucket(), Key: this.keyOf(name) };
  }

  keyOf(name: string): string {
    const { prefix } = this.location;
    return prefix === undefined ? name : `${prefix}/${name}`;
  }

  /** The parameters of any command. */
  bucket(): BucketInput {
    const { bucket, requesterPays } = this.location;
    return { Bucket: bucket, ...(requesterPays ? { RequestPayer: "requester" } : {}) };
  }

  /** How new objects are stored, where the URL says so, as headers. */
  storageHeaders(): Record<string, string> {
    const { storageClass, encryption, encryptionKey } = this.location;
    return {
      ...(storageClass === undefined ? {} : { "x-amz-storage-class": storageClass }),
      ...(encryption === undefined ? {} : { "x-amz-server-side-encryption": encryption }),
      ...(encryptionKey === undefined
        ? {}
        : { "x-amz-server-side-encryption-aws-kms-key-id": encryptionKey }),
    };
  }

  /** The same, as parameters of a command. */
  storage(): Pick<PutObjectCommandInput, "StorageClass" | "ServerSideEncryption" | "SSEKMSKeyId"> {
    const { storageClass, encryption, encryptionKey } = this.location;
    return {
      ...(storageClass === undefined ? {} : { StorageClass: storageClass as never }),
      ...(encryption === undefined ? {} : { ServerSideEncryption: encryption as never }),
      ...(encryptionKey === undefined ? {} : { SSEKMSKeyId: encryptionKey }),
    };
  }

  /**
   * Sends a command until it succeeds or fails for good.
   *
   * @throws {HandpickError} As {@link s3Error} for an answer, `TOKEN_MISSING` without credentials, `NETWORK`
   *   without an answer.
   */
  async ask<T>(request: ObjectRequest, send: SendCommand<T>): Promise<T> {
    const outcome = await this.tryAsk(request, send);
    if (isFailed(outcome)) throw this.error(outcome.failed);
    return outcome;
  }

  /** The same, but gives an answer that is no success back. */
  async tryAsk<T>({ action, signal }: ObjectRequest, send: SendCommand<T>): Promise<T | Failed> {
    if (this.#isKnown) return await this.#tryAsk({ action, signal }, send);
    const limitMs = this.#options.firstContactMs ?? FIRST_CONTACT_MS;
    const hint = "Check the endpoint of this cache, and that its server is healthy.";
    const outcome = await firstContact({ action, limitMs, hint, signal }, (signal) =>
      // The SDK waits for credentials as long as it takes.
      orAborted(this.#tryAsk({ action, signal }, send, FIRST_PATIENCE), signal),
    );
    this.#isKnown = true;
    return outcome;
  }

  /** As {@link tryAsk}, without a command. */
  async tryCall(call: ObjectCall, request: ObjectRequest): Promise<HttpResponse | Failed> {
    return await this.tryAsk(request, (_sdk, options) => this.#objects.send(call, options));
  }

  /** Sends a command once, for what is done as well as it goes. */
  async askOnce<T>(request: ObjectRequest, send: SendCommand<T>): Promise<T> {
    const { response, value } = await this.#send(request, send);
    if (!isSuccess(response)) throw this.error(response);
    return value as T;
  }

  error(response: HttpResponse): Error {
    const { bucket, region, endpoint } = this.location;
    const server = endpoint && endpointOf(new URL(endpoint));
    return s3Error(response, { bucket, region, endpoint: server }, this.clock.now());
  }

  /** The credentials that sign. @throws {HandpickError} `TOKEN_MISSING` */
  async identity(request: ObjectRequest): Promise<object> {
    try {
      return await this.#sdk.config.credentials();
    } catch (error) {
      throw sdkError(error, request.action, this.location.profile);
    }
  }

  [Symbol.dispose](): void {
    this.#sdk.destroy();
    this.#client.close();
  }

  async #tryAsk<T>(
    request: ObjectRequest,
    send: SendCommand<T>,
    patience: Pick<RetryOptions, "offlineMs"> = {},
  ): Promise<T | Failed> {
    let failed: HttpResponse | undefined;
    let outcome: T | undefined;
    const attempt = async (): Promise<HttpResponse> => {
      let { response, value } = await this.#send(request, send);
      // From now on signatures are made for the clock of the server. That of the SDK goes by every answer, so one
      // with a wrong date disturbs it until then.
      if (isSkewed(response)) ({ response, value } = await this.#send(request, send));
      outcome = value;
      failed = isSuccess(response) ? undefined : response;
      return { ...response, status: retryStatusOf(response) };
    };
    const { random, onRetry } = this.#options;
    const waits = { clock: this.clock, random, onRetry, triesMs: TRIES_MS, ...patience };
    await retry(attempt, { ...waits, signal: request.signal });
    return failed === undefined ? (outcome as T) : { failed };
  }

  /** Every error of the SDK that an answer of S3 led to is that answer. */
  async #send<T>(
    { action, signal }: ObjectRequest,
    send: SendCommand<T>,
  ): Promise<{ readonly response: HttpResponse; readonly value?: T }> {
    let answer: HttpResponse | undefined;
    const onAnswer = (response: HttpResponse): void => {
      answer = response;
      const timeMs = Date.parse(response.headers.date ?? "");
      this.#serverTimeMs = Number.isNaN(timeMs) ? undefined : timeMs;
    };
    try {
      const value = await send(this.#sdk, { abortSignal: signal, action, onAnswer });
      if (answer === undefined) throw new TypeError("the SDK sent nothing");
      return { response: answer, value };
    } catch (error) {
      signal.throwIfAborted();
      if (answer === undefined) throw sdkError(error, action, this.location.profile);
      if (!isSuccess(answer)) return { response: answer };
      // S3 begins some answers before it knows how they end; others are not of S3.
      return { response: { ...answer, status: errorCodeOf(answer) === "" ? 502 : 400 } };
    }
  }

  #configuration(): S3ClientConfig {
    const { region, endpoint, isPlain, isPathStyle, profile } = this.location;
    return {
      region,
      ...(endpoint === undefined ? { tls: !isPlain } : { endpoint }),
      ...(profile === undefined ? {} : { profile }),
      forcePathStyle: isPathStyle,
      // The URL alone says which server it is, as with Nix.
      ignoreConfiguredEndpointUrls: true,
      requestHandler: createSdkHandler({
        client: this.#client,
        action: `get credentials for ${this.label}`,
      }),
      maxAttempts: 1,
      // It would make us wait for an answer before a body, which not all servers give.
      expectContinueHeader: false,
      // Servers other than AWS's may know no checksums.
      ...(endpoint === undefined
        ? {}
        : {
            requestChecksumCalculation: "WHEN_REQUIRED",
            responseChecksumValidation: "WHEN_REQUIRED",
          }),
      logger: SILENT,
    };
  }
}

/** The SDK would write its advice to the terminal of the user. */
const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export function isFailed(outcome: unknown): outcome is Failed {
  return typeof outcome === "object" && outcome !== null && "failed" in outcome;
}
