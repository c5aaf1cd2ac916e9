import { once } from "node:events";
import { Agent, createServer, request as requestHttp } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";

import { operationOf } from "../fakes/cachix.ts";
import type { Operation } from "../fakes/cachix-service.ts";

/** What a client asked for. */
export interface ProxiedRequest {
  readonly operation: Operation;
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
}

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What is done with a request; it has to end in an answer or a cut, or in neither. */
export type Handler = (exchange: Exchange) => Promise<void>;

export interface FaultProxyOptions {
  /** Base URL of the server behind the proxy. */
  readonly target: string;
  readonly handle: Handler;
  /** True where requests are signed with the address that the client knows. @default {false} */
  readonly keepsHost?: boolean;
  /** Told what the server answered, before anybody else hears of it. */
  readonly observe?: (exchange: Exchange, answer: Answer) => Promise<void> | void;
}

/** A proxy between a client and a server; part URLs lead through it as well. */
export interface FaultProxy extends AsyncDisposable {
  readonly url: string;
  readonly requests: readonly ProxiedRequest[];
  /** The requests for one thing. */
  of(operation: Operation): ProxiedRequest[];
  /** Cuts all connections and refuses others; resolves when it listens again, `ms` later. */
  pause(ms: number): Promise<void>;
}

/** How an exchange ends whose other side is gone. */
const CUT: ReadonlySet<unknown> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_PREMATURE_CLOSE",
]);

/** Passes everything on as it is. */
export const passOn: Handler = async (exchange) => exchange.send(await exchange.pass());

export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const requests: ProxiedRequest[] = [];
  const failures: unknown[] = [];
  const agent = new Agent({ keepAlive: true });
  const server = createServer((incoming, response) => {
    const exchange = new Exchange({ incoming, response }, { ...options, agent });
    requests.push(exchange.request);
    incoming.on("error", () => undefined); // the client went away
    options.handle(exchange).catch((error: unknown) => {
      exchange.cut();
      // A server that was stopped on purpose, or a client that left, is no mistake of the test.
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (!CUT.has(code)) failures.push(error);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: urlOf(server.address()),
    requests,
    of: (operation) => requests.filter((request) => request.operation === operation),
    async pause(ms) {
      const { port } = server.address() as AddressInfo;
      await shut(server);
      await delay(ms);
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    async [Symbol.asyncDispose]() {
      await shut(server);
      agent.destroy();
      if (failures.length > 0) throw failures[0];
    },
  };
}

async function shut(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}

interface Ends {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
}

/** One request on its way, and what can happen to it. */
export class Exchange {
  readonly request: ProxiedRequest;
  readonly #ends: Ends;
  readonly #options: FaultProxyOptions & { readonly agent: Agent };
  #body: Promise<Buffer> | undefined;
  #status: number | undefined;

  constructor(ends: Ends, options: FaultProxyOptions & { readonly agent: Agent }) {
    const { method = "", url: target = "", headers } = ends.incoming;
    const operation = method === "PUT" ? "put" : operationOf({ method, url: target });
    this.request = { operation, method, target, headers };
    this.#ends = ends;
    this.#options = options;
  }

  /** The body, read to its end. */
  body(): Promise<Buffer> {
    this.#body ??= buffer(this.#ends.incoming);
    return this.#body;
  }

  /** Lets the server do what was asked, and returns its answer to nobody but the caller. */
  async pass(): Promise<Answer> {
    const body = await this.body();
    const { target, observe, agent, keepsHost = false } = this.#options;
    const { method, target: path, headers } = this.request;
    const host = keepsHost ? headers.host : new URL(target).host;
    const outgoing = requestHttp(`${target}${path}`, {
      method,
      agent,
      headers: { ...headers, host, connection: "keep-alive" },
    });
    outgoing.end(body);
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    const received = await buffer(incoming);
    const answer = {
      status: incoming.statusCode ?? 0,
      headers: keptHeaders(incoming.headers),
      body: this.#throughUs(received, incoming.headers),
    };
    await observe?.(this, answer);
    return answer;
  }

  /** The status of the answer that was sent whole; undefined without one. */
  get sentStatus(): number | undefined {
    return this.#status;
  }

  send({ status, headers, body }: Answer): void {
    this.#status = status;
    // The length in an answer to HEAD is that of the body which GET has.
    const length = this.request.method === "HEAD" ? headers["content-length"] : body.length;
    this.#ends.response.writeHead(status, {
      ...headers,
      ...(length === undefined ? {} : { "content-length": length }),
    });
    this.#ends.response.end(body);
  }

  /** Sends the head of an answer and the first `bytes` of its body, then cuts. */
  async sendHalf({ status, headers, body }: Answer, bytes: number): Promise<void> {
    const { response } = this.#ends;
    response.writeHead(status, { ...headers, "content-length": body.length });
    await new Promise((resolve) => response.write(body.subarray(0, bytes), resolve));
    this.cut();
  }

  /** Sends a part of the head of an answer, then cuts. */
  async sendPartOfHead(): Promise<void> {
    const { socket } = this.#ends.incoming;
    await new Promise((resolve) => socket.write("HTTP/1.1 200 OK\r\nContent-Le", resolve));
    this.cut();
  }

  /** Sends an answer byte by byte until the client leaves, and never its last byte. */
  async trickle({ status, headers, body }: Answer): Promise<void> {
    const { response } = this.#ends;
    response.writeHead(status, { ...headers, "content-length": body.length + 1 });
    response.flushHeaders();
    for (let at = 0; !response.destroyed; at = (at + 1) % Math.max(body.length, 1)) {
      if (at < body.length - 1) response.write(body.subarray(at, at + 1));
      await delay(50);
    }
  }

  /** True if the connection is closed a while after the answer, maybe under the next request. */
  isClosedLater = false;

  /** Closes the connection in a while, as servers do with those that they keep open. */
  closeLater(ms: number): void {
    this.isClosedLater = true;
    const { socket } = this.#ends.incoming;
    setTimeout(() => socket.destroy(), ms).unref();
  }

  /** Cuts the connection. */
  cut(): void {
    this.#ends.response.destroy();
  }

  /** Cuts the connection once `bytes` of the body came in, or all of it. */
  async cutWithin(bytes: number): Promise<void> {
    let size = 0;
    for await (const chunk of this.#ends.incoming as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size >= bytes) break;
    }
    this.cut();
  }

  /** Part URLs name the server itself; parts are to come through the proxy as well. */
  #throughUs(body: Buffer, headers: IncomingHttpHeaders): Buffer {
    if (headers["content-type"]?.startsWith("application/json") !== true) return body;
    const own = urlOf(this.#ends.incoming.socket.address());
    return Buffer.from(body.toString().replaceAll(this.#options.target, own));
  }
}

/** Without what speaks of one connection only. */
function keptHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const { connection: _, "transfer-encoding": _chunked, "keep-alive": _alive, ...kept } = headers;
  return Object.fromEntries(
    Object.entries(kept).flatMap(([name, value]) =>
      typeof value === "string" ? [[name, value] as const] : [],
    ),
  );
}

function urlOf(address: AddressInfo | object | string | null): string {
  return `http://127.0.0.1:${(address as AddressInfo).port}`;
}
