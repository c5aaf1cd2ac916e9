import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request to a fake; `Operation` is what it is for. */
export interface RecordedRequest<Operation extends string> {
  readonly operation: Operation;
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Anything but text and bytes is sent as JSON. */
  readonly body?: unknown;
}

export interface ReplyOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Do what was asked first, and only then answer this. @default {false} */
  readonly takeEffect?: boolean;
}

type Answer<Operation extends string> = (
  request: RecordedRequest<Operation>,
  serve: () => Reply,
) => Reply | Promise<Reply>;

/**
 * What happens to one request to come. Without a further call it is served as usual; `arrived`
 * tells when it is there, its body included.
 */
export interface Script<Operation extends string> {
  readonly arrived: Promise<RecordedRequest<Operation>>;
  /** Answers this instead. */
  reply(status: number, options?: ReplyOptions): this;
  /** Cuts the connection instead of answering; with `afterBytes` in the middle of the body. */
  cut(options?: { readonly takeEffect?: boolean; readonly afterBytes?: number }): this;
  /** Answers this before the body is read. */
  replyEarly(status: number, options?: Omit<ReplyOptions, "takeEffect">): this;
  /** Reads no more of the body after so many bytes; resolves when they are there. */
  stall(afterBytes: number): Promise<void>;
  /** Keeps the request until the function that it returns is called, then serves it as usual. */
  hold(): () => void;
  /** Answers what `answer` gives; `serve` does what is usual. */
  handle(answer: Answer<Operation>): this;
}

/** Loopback servers whose requests a test records and scripts. */
export class ScriptedServers<Operation extends string> {
  /** All requests so far, in the order in which they were complete. */
  readonly requests: RecordedRequest<Operation>[] = [];
  readonly #serve: (request: RecordedRequest<Operation>) => Reply;
  readonly #scripts = new Map<Operation, ScriptedRequest<Operation>[]>();
  readonly #servers: Server[] = [];

  /** @param serve Does what is usual. */
  constructor(serve: (request: RecordedRequest<Operation>) => Reply) {
    this.#serve = serve;
  }

  /** Starts a server, and returns its URL. */
  async listen(operationOf: (incoming: IncomingMessage) => Operation): Promise<string> {
    const server = createServer((incoming, response) => {
      this.#answer(incoming, response, operationOf(incoming)).catch((error: unknown) =>
        response.destroy(error as Error),
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#servers.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** The requests for one thing. */
  of(operation: Operation): RecordedRequest<Operation>[] {
    return this.requests.filter((request) => request.operation === operation);
  }

  /** Scripts the next request for `operation` that has no script yet. */
  next(operation: Operation): Script<Operation> {
    const script = new ScriptedRequest<Operation>();
    this.#scripts.set(operation, [...(this.#scripts.get(operation) ?? []), script]);
    return script;
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map(shut));
  }

  async #answer(
    incoming: IncomingMessage,
    response: ServerResponse,
    operation: Operation,
  ): Promise<void> {
    const script = this.#scripts.get(operation)?.shift() ?? new ScriptedRequest<Operation>();
    const body = script.early === undefined ? await readBody(incoming, script) : CUT;
    const { method = "", url: target = "", headers } = incoming;
    const request: RecordedRequest<Operation> = { operation, method, target, headers, body };
    this.requests.push(request);
    script.tellArrival(request);
    const serve = (): Reply => this.#serve(request);
    const reply = body === CUT ? script.early : await script.answer(request, serve);
    if (reply === undefined) incoming.socket.destroy();
    else send(response, reply);
  }
}

class ScriptedRequest<Operation extends string> implements Script<Operation> {
  readonly #arrival: PromiseWithResolvers<RecordedRequest<Operation>> = Promise.withResolvers();
  readonly arrived: Promise<RecordedRequest<Operation>> = this.#arrival.promise;
  readonly tellArrival = this.#arrival.resolve;
  early: Reply | undefined;
  cutAfter = Infinity;
  stallAfter = Infinity;
  readonly #stalled: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly tellStall = this.#stalled.resolve;
  #answer: (...args: Parameters<Answer<Operation>>) => Reply | undefined | Promise<Reply>;

  constructor() {
    this.#answer = (_request, serve) => serve();
  }

  async answer(
    request: RecordedRequest<Operation>,
    serve: () => Reply,
  ): Promise<Reply | undefined> {
    return this.#answer(request, serve);
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

  replyEarly(status: number, options: Omit<ReplyOptions, "takeEffect"> = {}): this {
    this.early = { status, ...options };
    return this;
  }

  stall(afterBytes: number): Promise<void> {
    this.stallAfter = afterBytes;
    return this.#stalled.promise;
  }

  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#answer = async (_request, serve) => {
      await promise;
      return serve();
    };
    return resolve;
  }

  handle(answer: Answer<Operation>): this {
    this.#answer = answer;
    return this;
  }
}

/** How much of a body is read. */
interface BodyScript {
  readonly cutAfter: number;
  readonly stallAfter: number;
  readonly tellStall: () => void;
}

const CUT = Buffer.alloc(0);

async function readBody(
  incoming: IncomingMessage,
  { cutAfter, stallAfter, tellStall }: BodyScript,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size >= cutAfter) return CUT;
      if (size >= stallAfter) {
        tellStall();
        await once(incoming.socket, "close");
      }
      chunks.push(chunk);
    }
  } catch {
    return CUT; // the client went away
  }
  return Buffer.concat(chunks);
}

function send(response: ServerResponse, { status, headers = {}, body }: Reply): void {
  const isRaw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  const type: Record<string, string> = isRaw ? {} : { "content-type": "application/json" };
  response.writeHead(status, { ...type, ...headers });
  response.end(isRaw ? body : JSON.stringify(body));
}

async function shut(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}
