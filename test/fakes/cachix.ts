import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { FakeService } from "./cachix-service.ts";
import type { Operation, RecordedRequest, Reply } from "./cachix-service.ts";

export interface ReplyOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Do what was asked first, and only then answer this. @default {false} */
  readonly takeEffect?: boolean;
}

/**
 * What happens to one request to come. Without a further call it is served as usual; `arrived`
 * tells when it is there, its body included.
 */
export interface Script {
  readonly arrived: Promise<RecordedRequest>;
  /** Answers this instead. */
  reply(status: number, options?: ReplyOptions): this;
  /** Cuts the connection instead of answering; with `afterBytes` in the middle of the body. */
  cut(options?: { readonly takeEffect?: boolean; readonly afterBytes?: number }): this;
  /** Keeps the request until the function that it returns is called, then serves it as usual. */
  hold(): () => void;
  /** Answers what `answer` gives; `serve` does what is usual. */
  handle(answer: (request: RecordedRequest, serve: () => Reply) => Reply | Promise<Reply>): this;
}

/** A Cachix service on two loopback ports, one for the API and one for storage. */
export interface FakeCachix extends AsyncDisposable {
  /** The base URL of the API. */
  readonly url: string;
  readonly cacheName: string;
  /** State and rules, for a test to look at and to change. */
  readonly service: FakeService;
  readonly violations: readonly string[];
  /** All requests so far, in the order in which they were complete. */
  readonly requests: readonly RecordedRequest[];
  /** The requests for one thing. */
  of(operation: Operation): RecordedRequest[];
  /** Scripts the next request for `operation` that has no script yet. */
  next(operation: Operation): Script;
  close(): Promise<void>;
}

/** Starts a fake; `cacheName` is the only cache it has. */
export async function startFakeCachix(cacheName = "acme"): Promise<FakeCachix> {
  const service = new FakeService(cacheName);
  const requests: RecordedRequest[] = [];
  const scripts = new Map<Operation, ScriptedRequest[]>();
  const serve = async (
    incoming: IncomingMessage,
    response: ServerResponse,
    operation: Operation,
  ): Promise<void> => {
    const script = scripts.get(operation)?.shift() ?? new ScriptedRequest();
    const body = await readBody(incoming, script.cutAfter);
    const { method = "", url: target = "", headers } = incoming;
    const request: RecordedRequest = { operation, method, target, headers, body };
    requests.push(request);
    script.tellArrival(request);
    const reply = body === CUT ? undefined : await script.answer(request, service);
    if (reply === undefined) incoming.socket.destroy();
    else send(response, reply);
  };
  const api = await listen((incoming, response) =>
    serve(incoming, response, operationOf(incoming)),
  );
  const storage = await listen((incoming, response) => serve(incoming, response, "put"));
  service.apiUrl = urlOf(api);
  service.storageUrl = urlOf(storage);
  const close = async (): Promise<void> => {
    await Promise.all([shut(api), shut(storage)]);
  };
  return {
    url: service.apiUrl,
    cacheName,
    service,
    violations: service.violations,
    requests,
    of: (operation) => requests.filter((request) => request.operation === operation),
    next(operation) {
      const script = new ScriptedRequest();
      scripts.set(operation, [...(scripts.get(operation) ?? []), script]);
      return script;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

class ScriptedRequest implements Script {
  readonly arrived: Promise<RecordedRequest>;
  readonly tellArrival: (request: RecordedRequest) => void;
  cutAfter = Infinity;
  #answer: (request: RecordedRequest, serve: () => Reply) => Reply | undefined | Promise<Reply>;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<RecordedRequest>();
    this.arrived = promise;
    this.tellArrival = resolve;
    this.#answer = (_request, serve) => serve();
  }

  async answer(request: RecordedRequest, service: FakeService): Promise<Reply | undefined> {
    return this.#answer(request, () => service.handle(request));
  }

  reply(status: number, { takeEffect = false, ...rest }: ReplyOptions = {}): this {
    this.#answer = (_request, serve) => {
      if (takeEffect) serve();
      return { status, ...rest };
    };
    return this;
  }

  cut({ takeEffect = false, afterBytes = Infinity } = {}): this {
    this.cutAfter = afterBytes;
    this.#answer = (_request, serve) => {
      if (takeEffect) serve();
      return undefined;
    };
    return this;
  }

  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#answer = async (_request, serve) => {
      await promise;
      return serve();
    };
    return resolve;
  }

  handle(answer: (request: RecordedRequest, serve: () => Reply) => Reply | Promise<Reply>): this {
    this.#answer = answer;
    return this;
  }
}

const CUT = Buffer.alloc(0);

async function readBody(incoming: IncomingMessage, cutAfter: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size >= cutAfter) return CUT;
      chunks.push(chunk);
    }
  } catch {
    return CUT; // the client went away
  }
  return Buffer.concat(chunks);
}

/** What a request of the API is for. */
export function operationOf({
  method,
  url = "",
}: Pick<IncomingMessage, "method" | "url">): Operation {
  const path = url.replace(/\?.*$/, "");
  const match = /^\/api\/v1\/cache\/[^/]+(?:\/(.*))?$/.exec(path);
  if (match === null) return "unknown";
  const rest = (match[1] ?? "").replace(/^multipart-nar\/[^/]+/, "multipart-nar/ID");
  return OPERATIONS.get(`${method} ${rest}`) ?? "unknown";
}

const OPERATIONS = new Map<string, Operation>([
  ["GET ", "info"],
  ["POST narinfo", "missing"],
  ["POST multipart-nar", "begin"],
  ["POST multipart-nar/ID", "part-url"],
  ["POST multipart-nar/ID/complete", "complete"],
  ["POST multipart-nar/ID/abort", "abort"],
  ["POST pin", "pin"],
  ["GET pin", "list-pins"],
  ["POST key", "key"],
]);

function send(response: ServerResponse, { status, headers = {}, body }: Reply): void {
  const isRaw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const type: Record<string, string> = isRaw ? {} : { "content-type": "application/json" };
  response.writeHead(status, { ...type, ...headers });
  response.end(isRaw ? body : JSON.stringify(body));
}

async function listen(
  handle: (incoming: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<Server> {
  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function shut(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}
