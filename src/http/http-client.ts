import { HandpickError } from "../error.ts";
import { affordable } from "../files/open-files.ts";
import { VERSION } from "../version.ts";
import { HostLimit } from "./host-limit.ts";
import { decoded } from "./content-encoding.ts";
import { createAgents } from "./http-agents.ts";
import { exchange } from "./http-exchange.ts";
import { DEFAULT_TIMEOUTS, endpointOf, FOREIGN_HINT, mostBytesOf } from "./http-message.ts";
import type { HttpRequest, HttpResponse, OnSuccess, Timeouts } from "./http-message.ts";

/** The user agent, for those who run the caches. */
const USER_AGENT = `handpick/${VERSION}`;
const MAX_REDIRECTS = 5;
/** As many as paths are pushed at once: a path of several parts has no connection for each. */
const REQUESTS_TO_A_HOST = 64;
/** Of all clients together: one that waits for ever with twice as many leaves another its share. */
const everybody = new HostLimit(affordable(3 * REQUESTS_TO_A_HOST, 1));
/** Text of this length does not stand in an answer by chance; tokens are longer. */
const UNLIKELY_LENGTH = 16;
const REDIRECT_STATUSES: readonly number[] = [301, 302, 303, 307, 308];

export interface HttpClientOptions {
  /** Where proxies and certificate files are looked up. @default {process.env} */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** How many requests to one host are under way at once, as far as open files allow. @default {64} */
  readonly requestsAtOnce?: number | undefined;
  /** The next step after answers that no cache of this kind gives. @default {FOREIGN_HINT} */
  readonly foreignHint?: string | undefined;
}

/**
 * The one HTTP client of all caches. It retries nothing; see `retry.ts`. Of each client 64 requests
 * to one host are under way at once unless it says otherwise, of all clients together 192; the others wait. There are fewer
 * where the process may open few files. On node:http, since the built-in fetch copies bodies: 2 000 small
 * POSTs took 1.05 s of CPU and 249 MiB with it, against 0.35 s and 97 MiB.
 */
export interface HttpClient {
  /**
   * Sends one request. GET and HEAD follow up to 5 redirects; `authorization` stays with the
   * origin it was meant for.
   *
   * @param onSuccess Reads the body of an answer from 200 to 299 as it arrives; the response has an
   *   empty one then. Without it, and for other answers, the body is read into memory.
   * @throws {HandpickError} `NETWORK` if there was no complete answer, `CACHE_PROTOCOL` if it is
   *   too large or redirects where we must not follow.
   * @throws {RangeError} If the body of the request has another size than it said.
   * @throws What the source of that body or `onSuccess` throws, as it is.
   * @throws The reason `request.signal` was aborted with.
   */
  request(request: HttpRequest, onSuccess?: OnSuccess): Promise<HttpResponse>;
  /** Closes idle connections at once and those in use with them. */
  close(): void;
}

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const env = options.env ?? process.env;
  const agents = createAgents(env);
  const { timeouts = DEFAULT_TIMEOUTS, foreignHint = FOREIGN_HINT } = options;
  const { requestsAtOnce = REQUESTS_TO_A_HOST } = options;
  const limit = new HostLimit(affordable(requestsAtOnce, 2), everybody);
  return {
    async request(request, onSuccess) {
      const headers = { "user-agent": USER_AGENT, ...request.headers };
      let current: HttpRequest = { ...request, headers };
      for (let redirects = 0; ; redirects++) {
        const route = agents.routeTo(current.url);
        const now = current;
        const send = () => exchange(now, { ...route, timeouts, env, foreignHint, onSuccess });
        const response = await limit.run(now.url.host, now.signal, send);
        const target = redirectTarget(current, response);
        if (target === undefined) {
          const plain = await decoded(response, { maxBytes: mostBytesOf(now), hint: foreignHint });
          return withoutCredentials(plain, request);
        }
        const fault =
          redirects === MAX_REDIRECTS ? "one redirect after another" : faultOf(target, current);
        if (fault !== undefined) throw unfollowed(current, fault, foreignHint);
        current = redirected(current, target);
      }
    },
    close: () => agents.close(),
  };
}

function redirectTarget(
  { method, url, followsRedirects = true }: HttpRequest,
  response: HttpResponse,
): URL | undefined {
  const { location } = response.headers;
  const mayFollow = followsRedirects && (method === "GET" || method === "HEAD");
  if (!mayFollow || location === undefined || !REDIRECT_STATUSES.includes(response.status)) {
    return undefined;
  }
  return URL.parse(location, url.href) ?? undefined;
}

/** Says why a redirect is not followed. */
function faultOf(target: URL, { url }: HttpRequest): string | undefined {
  const isWeb = target.protocol === "https:" || target.protocol === "http:";
  if (!isWeb || (url.protocol === "https:" && target.protocol === "http:")) {
    return `a redirect from ${url.protocol}// to ${target.protocol}//`;
  }
  const hasCredentials = target.username !== "" || target.password !== "";
  return hasCredentials ? "a redirect with credentials in its URL" : undefined;
}

function redirected(request: HttpRequest, target: URL): HttpRequest {
  const { url } = request;
  if (target.origin === url.origin) return { ...request, url: target };
  const { authorization: _kept, ...headers } = request.headers ?? {};
  return { ...request, url: target, headers };
}

/**
 * Bodies that are not understood are shown to people, and may repeat what we sent. In a success a
 * short secret is left alone: it may stand there by chance, as part of a hash that we asked for.
 */
function withoutCredentials(response: HttpResponse, { headers }: HttpRequest): HttpResponse {
  const least = response.status < 300 ? UNLIKELY_LENGTH : 1;
  const sent = [...secretsIn(headers?.["authorization"]), headers?.["x-amz-security-token"] ?? ""];
  const secrets = sent.filter(({ length }) => length >= least);
  if (secrets.length === 0) return response;
  const spellings = secrets.flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
  ]);
  const found = spellings.filter((spelling) => response.body.includes(spelling));
  if (found.length === 0) return response;
  const body = found.reduce((text, one) => text.replaceAll(one, "…"), response.body.toString());
  return { ...response, body: Buffer.from(body) };
}

/** The credential in an `Authorization` header, and the password in that. */
function secretsIn(authorization = ""): string[] {
  const [scheme, secret = ""] = /^(\w+) (.*)$/s.exec(authorization)?.slice(1) ?? [
    "",
    authorization,
  ];
  if (scheme !== "Basic") return [secret];
  const [, password = ""] = /:(.*)$/s.exec(Buffer.from(secret, "base64").toString()) ?? [];
  return [secret, password];
}

function unfollowed({ action, url }: HttpRequest, found: string, hint: string): HandpickError {
  return new HandpickError(
    "CACHE_PROTOCOL",
    `Cannot ${action}: expected an answer from ${endpointOf(url)}, received ${found}`,
    { hint },
  );
}
