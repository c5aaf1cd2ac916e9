import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { HandpickError } from "../error.ts";
import { GatheredBytes } from "../gathered-bytes.ts";
import { endpointOf } from "./http-message.ts";
import type { HttpRequest, HttpResponse, Timeouts } from "./http-message.ts";
import { http, loadHttps } from "./http-modules.ts";
import { isProxyRefusal, networkError, refusedByProxy } from "./network-error.ts";
import type { Circumstances } from "./network-error.ts";
import { SENT_STEP_BYTES, Watchdog } from "./watchdog.ts";

const DEFAULT_MAX_BYTES = 1024 * 1024;

/** Small enough that TLS never holds a second copy of a part and that progress is seen. */
const SLICE_BYTES = SENT_STEP_BYTES;

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
  const sending: Sending = { outgoing, request, foreignHint, watchdog, isSent: false };
  const connection = new Connection(outgoing);
  let isIdle = false;
  try {
    receive(sending, answer);
    sendFrom(0, sending);
    const response = await answer.promise;
    isIdle = sending.isSent;
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
  isSent: boolean;
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
    outgoing.end(request.body?.subarray(offset), () => sent(sending));
    return;
  }
  outgoing.write(request.body.subarray(offset, next), (error) => {
    if (error) return; // the request reports it
    watchdog.moved(SLICE_BYTES);
    sendFrom(next, sending);
  });
}

function sent(sending: Sending): void {
  sending.isSent = true;
  sending.watchdog.sent();
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
  { request, watchdog, foreignHint: hint }: Omit<Sending, "outgoing" | "isSent">,
): Promise<Buffer> {
  const { action, url, maxBytes = DEFAULT_MAX_BYTES } = request;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const gathered = new GatheredBytes();
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
    watchdog.moved(chunk.byteLength);
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
