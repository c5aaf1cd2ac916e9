import { Readable } from "node:stream";

import type { S3ClientConfig } from "@aws-sdk/client-s3";

import type { HttpClient } from "../../http/http-client.ts";
import type { HttpRequest, HttpResponse } from "../../http/http-message.ts";

/** A page of a list: 1000 names, of 1024 bytes at most, and what is told of each. */
const LONGEST_ANSWER = 4 << 20;

/** The options of one command; the SDK hands them through. */
export interface SendOptions {
  readonly abortSignal: AbortSignal;
  readonly action: string;
  /** Gets the answer, which the errors of the SDK tell only in part. */
  readonly onAnswer: (response: HttpResponse) => void;
}

/** A request as the SDK signs it. */
export interface SdkRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | null>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface SdkHandlerOptions {
  readonly client: HttpClient;
  /** The action of requests that are not ours: the SDK's own for credentials. */
  readonly action: string;
}

/**
 * Sends the requests of the SDK with the one client of all caches: its limits, time-outs, proxies and
 * certificates.
 */
export function createSdkHandler({
  client,
  action,
}: SdkHandlerOptions): NonNullable<S3ClientConfig["requestHandler"]> {
  const never = new AbortController().signal;
  return {
    async handle(signed: SdkRequest, options: Partial<SendOptions> = {}) {
      const whole = { action, abortSignal: never, onAnswer: () => undefined, ...options };
      const response = await sendSigned(client, signed, whole);
      const { status, headers, body } = response;
      return {
        response: {
          statusCode: status,
          headers: joined(headers),
          body: Readable.from(body.length === 0 ? [] : [body]),
        },
      };
    },
    updateHttpClientConfig: () => undefined,
    httpHandlerConfigs: () => ({}),
  };
}

/** Sends a request that is signed, once. */
export async function sendSigned(
  client: HttpClient,
  signed: SdkRequest,
  { action, abortSignal, onAnswer }: SendOptions,
): Promise<HttpResponse> {
  const response = await client.request({
    action,
    method: signed.method as HttpRequest["method"],
    url: urlOf(signed),
    headers: headersOf(signed),
    body: bodyOf(signed.body),
    maxBytes: LONGEST_ANSWER,
    // A signature is for one host, and a session token for nobody else.
    followsRedirects: false,
    signal: abortSignal,
  });
  onAnswer(response);
  return response;
}

function urlOf({ protocol, hostname, port, path, query = {} }: SdkRequest): URL {
  const url = new URL(`${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`);
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one ?? "")}`),
  );
  url.search = pairs.join("&");
  return url;
}

/** Our own client says who we are. */
function headersOf({ headers }: SdkRequest): Record<string, string> {
  const { "user-agent": _ours, ...rest } = headers;
  return rest;
}

function bodyOf(body: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body as Uint8Array<ArrayBuffer>;
  throw new TypeError("the SDK sends bodies that are in memory only");
}

function joined(headers: HttpResponse["headers"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, [value].flat().join(", ")]),
  );
}
