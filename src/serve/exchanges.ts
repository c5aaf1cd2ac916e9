import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** A request with its answer. */
export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/** The type of hono's `c.env`: handlers find the exchange there that they answer. */
export interface ServeEnv {
  Bindings: Exchange;
}

/** The connections, and the requests on them that are being worked on or answered. */
export class Exchanges {
  readonly #sockets = new Set<Socket>();
  readonly #open = new Set<Exchange>();
  readonly #handlers = new Set<Promise<unknown>>();
  #isEnding = false;

  addConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** Runs the handler of a request and keeps account of both. */
  async track<T>(exchange: Exchange, handle: () => Promise<T>): Promise<T> {
    this.#open.add(exchange);
    exchange.outgoing.once("close", () => {
      this.#open.delete(exchange);
      if (this.#isEnding) exchange.incoming.socket.end();
    });
    const handler = handle();
    this.#handlers.add(handler);
    try {
      return await handler;
    } finally {
      this.#handlers.delete(handler);
    }
  }

  /** Returns true if the client at the other end has sent its request and waits for us. */
  isWorkingFor(socket: Socket): boolean {
    return this.#open
      .values()
      .some(
        ({ incoming, outgoing }) =>
          incoming.socket === socket && incoming.complete && !outgoing.headersSent,
      );
  }

  /**
   * Closes the connections without a request, and from now on every other once it has its answer.
   * Node does the first for connections that were used before, but waits for the first request of
   * a new one.
   */
  endConnections(): void {
    this.#isEnding = true;
    const busy = new Set(this.#open.values().map(({ incoming }) => incoming.socket));
    for (const socket of this.#sockets.difference(busy)) socket.destroy();
  }

  /** Waits for the handlers that run. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#handlers);
  }
}
