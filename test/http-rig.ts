import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Server as TcpServer, Socket } from "node:net";

import { createHttpClient } from "../src/http/http-client.ts";
import type { HttpClient } from "../src/http/http-client.ts";
import type { HttpRequest, HttpResponse, Timeouts } from "../src/http/http-message.ts";

export interface HttpRig extends AsyncDisposable {
  readonly url: URL;
  readonly client: HttpClient;
  get(path: string, more?: Partial<HttpRequest>): Promise<HttpResponse>;
}

export interface HttpRigOptions {
  readonly timeouts?: Timeouts;
  readonly env?: NodeJS.ProcessEnv;
}

/** A client and the server it speaks with. */
export async function rigFor(
  server: Server | TcpServer,
  options: HttpRigOptions = {},
): Promise<HttpRig> {
  const { env = {}, timeouts } = options;
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const client = createHttpClient({ env, timeouts });
  return {
    url,
    client,
    get: (path, more = {}) =>
      client.request({
        action: "read it",
        method: "GET",
        url: new URL(path, url),
        signal: new AbortController().signal,
        ...more,
      }),
    async [Symbol.asyncDispose]() {
      client.close();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

export const serve = (listener: RequestListener, options?: HttpRigOptions): Promise<HttpRig> =>
  rigFor(createServer(listener), options);

/** A server that reads one request head and then does what it likes with the socket. */
export function serveRaw(
  talk: (socket: Socket) => void,
  options?: HttpRigOptions,
): Promise<HttpRig> {
  return rigFor(
    createTcpServer((socket) => void socket.once("data", () => talk(socket))),
    options,
  );
}

/** The client sockets made from now on that the system still reads memory for. */
export function trackSockets(): Disposable & { readonly open: ReadonlySet<Socket> } {
  const open = new Set<Socket>();
  const track = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  };
  subscribe("net.client.socket", track);
  return { open, [Symbol.dispose]: () => void unsubscribe("net.client.socket", track) };
}

export async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
