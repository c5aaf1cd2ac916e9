import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { HandpickError } from "../error.ts";
import { GatheredBytes } from "../gathered-bytes.ts";
import { endpointOf } from "./http-message.ts";
import type { HttpRequest, HttpResponse, Timeouts } from "./http-message.ts";
import { http, loadHttps } from "./http-modules.ts";
import { isProxyRefusal, networkError, refusedByProxy } from "./network-error.ts";
import type { Circumstances } from "./network-error.ts";

const DEFAULT_MAX_BYTES = 1024 * 1024;

/** Small enough that TLS never holds a second copy of a part and that progress is seen. */
const SLICE_BYTES = 64 * 1024;
/** Bytes that an answer has to bring to count as progress: single ones could go on for hours. */
const PROGRESS_BYTES = 16 * 1024;

export interface ExchangeOptions extends Circumstances {
  readonly agent: Agent;
  readonly timeouts: Timeouts;
  /** The next step after answers that no cache gives. */
  readonly foreignHint: string;
}

/**
 * Sends one request and reads its answer, once: no redirect, no retry. Settles only when the
 * memory of the body is no longer in use.
 *
 * @throws {HandpickError} `NETWORK` if no complete answer arrived in time, `CACHE_PROTOCOL` if it
 *   is larger than `maxBytes`.
 * @throws The reason `request.signal` was aborted with.
 */
export async function exchange(
  request: HttpRequest,
  { agent, timeouts, foreignHint, ...circumstances }: ExchangeOptions,
): Promise<HttpResponse> {
  const { signal } = request;
  signal.throwIfAborted();
  const outgoing = start(request, agent);
  const answer = Promise.withResolvers<HttpResponse>();
  // Rejects by itself, as a request that still waits for its proxy does not notice destroy().
  const fail = (error: unknown): void => {
    answer.reject(error);
    outgoing.destroy();
  };
  const abort = (): void => fail(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  const watchdog = new Watchdog(timeouts, fail);
  const sending: Sending = { outgoing, request, foreignHint, watchdog };
  const connection = new Connection(outgoing);
  let isIdle = false;
  try {
    receive(sending, answer);
    sendFrom(0, sending);
    const response = await answer.promise;
    isIdle = sending.watchdog.isSent;
    // Caches never ask for the credentials of a proxy, so this is no answer of one.
    if (isProxyRefusal(response.status)) throw refusedByProxy(response.status);
    return response;
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof HandpickError ? error : networkError(request, error, circumstances);
  } finally {
    sending.watchdog.stop();
    signal.removeEventListener("abort", abort);
    if (!isIdle) await connection.destroy();
    connection.release();
  }
}

interface Sending {
  readonly outgoing: ClientRequest;
  readonly request: HttpRequest;
  readonly foreignHint: string;
  readonly watchdog: Watchdog;
}

function start({ url, method, headers, body }: HttpRequest, agent: Agent): ClientRequest {
  const { request } = url.protocol === "https:" ? loadHttps() : http;
  const length = body?.byteLength ?? (method === "POST" ? 0 : undefined);
  return request(url, {
    method,
    agent,
    headers: { ...headers, ...(length === undefined ? {} : { "content-length": length }) },
  });
}

function sendFrom(offset: number, sending: Sending): void {
  const { outgoing, request, watchdog } = sending;
  if (outgoing.destroyed) return;
  const next = offset + SLICE_BYTES;
  if (request.body === undefined || next >= request.body.byteLength) {
    outgoing.end(request.body?.subarray(offset), () => watchdog.sent());
    return;
  }
  outgoing.write(request.body.subarray(offset, next), (error) => {
    if (error) return; // the request reports it
    watchdog.progress();
    sendFrom(next, sending);
  });
}

function receive(
  { outgoing, request, watchdog, foreignHint }: Sending,
  { resolve, reject }: PromiseWithResolvers<HttpResponse>,
): void {
  const closed = (): void => reject(new Error("the connection was closed without an answer"));
  outgoing.on("error", reject);
  outgoing.on("close", closed);
  outgoing.on("response", (incoming) => {
    outgoing.off("close", closed);
    watchdog.answered();
    readBody(incoming, { request, watchdog, foreignHint }).then((body) => {
      const { statusCode: status = 0, headers } = incoming;
      resolve({ action: request.action, status, headers, body });
    }, reject);
  });
}

/** By events: iterating over an answer costs twice what reading it does. */
function readBody(
  incoming: IncomingMessage,
  { request, watchdog, foreignHint: hint }: Omit<Sending, "outgoing">,
): Promise<Buffer> {
  const { action, url, maxBytes = DEFAULT_MAX_BYTES } = request;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const gathered = new GatheredBytes();
  let progressAt = PROGRESS_BYTES;
  incoming.on("error", reject);
  incoming.on("close", () => reject(new Error("the connection was closed within the answer")));
  incoming.on("end", () => resolve(gathered.bytes()));
  incoming.on("data", (chunk: Buffer) => {
    if (gathered.size + chunk.byteLength > maxBytes) {
      const rule = `expected at most ${maxBytes} bytes from ${endpointOf(url)}, received more`;
      incoming.destroy(new HandpickError("CACHE_PROTOCOL", `Cannot ${action}: ${rule}`, { hint }));
      return;
    }
    gathered.add(chunk);
    if (gathered.size < progressAt) return;
    progressAt = gathered.size + PROGRESS_BYTES;
    watchdog.progress();
  });
  return promise;
}

/**
 * The socket of a request. Its body is in use until the socket says `close`; the property `closed`
 * is true before that. A request without a socket never touches the body once it is destroyed.
 */
class Connection {
  readonly #outgoing: ClientRequest;
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers();
  #socket: Socket | undefined;

  constructor(outgoing: ClientRequest) {
    this.#outgoing = outgoing;
    outgoing.once("socket", (socket) => {
      this.#socket = socket;
      socket.once("close", this.#closed.resolve);
    });
  }

  async destroy(): Promise<void> {
    this.#outgoing.destroy();
    if (this.#socket !== undefined) await this.#closed.promise;
  }

  /** Leaves no listener behind on a socket that others use after us. */
  release(): void {
    this.#socket?.off("close", this.#closed.resolve);
  }
}

/** Ends a request that stands still, or takes too long altogether. */
class Watchdog {
  isSent = false;
  readonly #timeouts: Timeouts;
  readonly #fail: (error: Error) => void;
  readonly #total: NodeJS.Timeout;
  #current: NodeJS.Timeout;
  #isAnswered = false;

  constructor(timeouts: Timeouts, fail: (error: Error) => void) {
    this.#timeouts = timeouts;
    this.#fail = fail;
    this.#total = this.#arm(timeouts.totalMs, "the request was not over");
    this.#current = this.#arm(timeouts.idleMs, "no progress was made");
  }

  progress(): void {
    this.#current.refresh();
  }

  sent(): void {
    this.isSent = true;
    if (!this.#isAnswered) this.#next(this.#timeouts.answerMs, "no answer came");
  }

  answered(): void {
    this.#isAnswered = true;
    this.#next(this.#timeouts.idleMs, "the answer made no progress");
  }

  stop(): void {
    this.#isAnswered = true; // a late sent() must not arm a timer again
    clearTimeout(this.#total);
    clearTimeout(this.#current);
  }

  #next(ms: number, what: string): void {
    clearTimeout(this.#current);
    this.#current = this.#arm(ms, what);
  }

  #arm(ms: number, what: string): NodeJS.Timeout {
    return setTimeout(() => this.#fail(new Error(`${what} within ${ms / 1000} s`)), ms);
  }
}
