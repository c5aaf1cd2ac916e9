import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";

import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";

import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import type { ListenAddress } from "./base-url.ts";
import { Exchanges } from "./exchanges.ts";

/** How long the server waits for whom. */
export interface ListenerLimits {
  /** For the headers of a request. @default {5_000} */
  readonly headersMs: number;
  /** For the next byte of a request, or for a reader to take more. @default {60_000} */
  readonly idleMs: number;
  /** For a whole request; a part of 5 GiB takes hours on a slow line. @default {43_200_000} */
  readonly requestMs: number;
  /** For running requests once the server is asked to stop. @default {10_000} */
  readonly graceMs: number;
}

export interface Listener {
  close(): Promise<void>;
}

export interface ListenOptions {
  readonly limits: Partial<ListenerLimits>;
  /** Aborted when the grace for running requests is over. */
  readonly stopping: AbortController;
}

const DEFAULT_LIMITS: ListenerLimits = {
  headersMs: 5_000,
  idleMs: 60_000,
  requestMs: 12 * 60 * 60 * 1000,
  graceMs: 10_000,
};
const KEEP_ALIVE_MS = 30_000;
const MOST_CONNECTIONS = 512;

/**
 * Serves an app over HTTP.
 *
 * @param open Makes the app, given the port that was taken, so that nothing is made where the
 *   address is not free. Requests that come before the app wait for it.
 * @throws {HandpickError} `LISTEN_FAILED` if the address cannot be used.
 * @throws What `open` throws; the address is free again then.
 */
export async function listen(
  address: ListenAddress,
  options: ListenOptions,
  open: (port: number) => Promise<Hono>,
): Promise<Listener> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const exchanges = new Exchanges();
  const app = Promise.withResolvers<Hono>();
  const server = createHttpServer(app.promise, exchanges, limits);
  const port = await bind(server, address);
  try {
    app.resolve(await open(port));
  } catch (error) {
    const ended = once(server, "close");
    server.close();
    server.closeAllConnections();
    await ended;
    throw error;
  }
  const stop = (): void => options.stopping.abort(new Error("The server is stopping"));
  return {
    close: async () => {
      const ended = once(server, "close");
      server.close();
      exchanges.endConnections();
      const grace = setTimeout(() => {
        stop();
        server.closeAllConnections();
      }, limits.graceMs);
      await ended;
      clearTimeout(grace);
      // Exchanges that still run have lost their clients; they end early, and clients do it again later.
      stop();
      await exchanges.settled();
    },
  };
}

function createHttpServer(
  app: Promise<Hono>,
  exchanges: Exchanges,
  limits: ListenerLimits,
): Server {
  const server = createServer({
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: Math.min(limits.headersMs, 1_000),
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.on("connection", (socket) => exchanges.addConnection(socket));
  server.on("request", (incoming, outgoing) => {
    const exchange = { incoming, outgoing };
    // Puts classes of its own in place of Request and Response, which do without streams.
    const answer = getRequestListener(async (request) =>
      exchanges.track(exchange, async () => (await app).fetch(request, exchange)),
    );
    void answer(incoming, outgoing);
  });
  server.setTimeout(limits.idleMs, (socket: Socket) => {
    // A client that waits for us is not idle: completing an upload may take minutes.
    if (!exchanges.isWorkingFor(socket)) socket.destroy();
  });
  return server;
}

async function bind(server: Server, { host, port }: ListenAddress): Promise<number> {
  try {
    server.listen({ host, port });
    await once(server, "listening");
  } catch (cause) {
    const found = listenFailure(cause);
    throw new HandpickError("LISTEN_FAILED", `Cannot listen on ${host}:${port}: ${found}`, {
      cause,
      hint: "Choose another address with --listen.",
    });
  }
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

function listenFailure(cause: unknown): string {
  if (systemCode(cause) === "EADDRINUSE") return "another program listens there";
  return cause instanceof Error ? cause.message : String(cause);
}
