import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import { HandpickError } from "../error.ts";
import { GatheredBytes } from "../gathered-bytes.ts";
import { endpointOf } from "./http-message.ts";
import type { HttpRequest, HttpResponse, Timeouts } from "./http-message.ts";
import { http, loadHttps } from "./http-modules.ts";
import { isProxyRefusal, networkError, refusedByProxy } from "./network-error.ts";
import type { Circumstances } from "./network-error.ts";
import { BodySender, bodySizeOf } from "./request-body.ts";
import { Watchdog } from "./watchdog.ts";

const DEFAULT_MAX_BYTES = 1024 * 1024;

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
 * @throws {RangeError} If the body has another size than it said.
 * @throws What a source of the body throws, or the reason `request.signal` was aborted with.
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
    const isNetwork = !signal.aborted && !(error instanceof HandpickError);
    answer.reject(isNetwork ? networkError(request, error, circumstances) : error);
    outgoing.destroy();
  };
  const abort = (): void => fail(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  const watchdog = new Watchdog(timeouts, fail);
  const onSourceError = answer.reject;
  const sender = new BodySender({ outgoing, request, watchdog, onSourceError });
  const connection = new Connection(outgoing);
  let isIdle = false;
  try {
    receive({ outgoing, request, foreignHint, watchdog, sender, resolve: answer.resolve, fail });
    sender.start();
    const response = await answer.promise;
    isIdle = sender.isSent;
    // Caches never ask for the credentials of a proxy, so this is no answer of one.
    if (isProxyRefusal(response.status)) {
      throw networkError(request, refusedByProxy(response.status), circumstances);
    }
    return response;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    watchdog.stop();
    signal.removeEventListener("abort", abort);
    if (!isIdle) await connection.destroy();
    connection.release();
    await sender.stop();
  }
}

interface Receiving {
  readonly outgoing: ClientRequest;
  readonly request: HttpRequest;
  readonly foreignHint: string;
  readonly watchdog: Watchdog;
  readonly sender: BodySender;
  readonly resolve: (response: HttpResponse) => void;
  readonly fail: (error: unknown) => void;
}

function start(request: HttpRequest, agent: Agent): ClientRequest {
  const { url, method, headers } = request;
  const { request: send } = url.protocol === "https:" ? loadHttps() : http;
  const size = bodySizeOf(request);
  return send(url, {
    method,
    agent,
    headers: { ...headers, ...(size === undefined ? {} : { "content-length": size }) },
  });
}

function receive(receiving: Receiving): void {
  const { outgoing, request, watchdog, sender, resolve, fail } = receiving;
  const closed = (): void => fail(new Error("the connection was closed without an answer"));
  let isAnswered = false;
  let cause: unknown;
  // A body that the server does not read to its end may fail after the answer, which counts.
  outgoing.on("error", (error) => {
    cause = error;
    if (!isAnswered) fail(error);
  });
  outgoing.on("close", closed);
  outgoing.on("response", (incoming) => {
    isAnswered = true;
    outgoing.off("close", closed);
    const { statusCode: status = 0, headers } = incoming;
    sender.answered(status);
    watchdog.answered();
    readBody(incoming, receiving).then(
      (body) => resolve({ action: request.action, status, headers, body }),
      (error: unknown) => fail(cause ?? error),
    );
  });
}

/** By events: iterating over an answer costs twice what reading it does. */
function readBody(
  incoming: IncomingMessage,
  { request, watchdog, foreignHint: hint }: Receiving,
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
