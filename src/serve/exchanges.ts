import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** A request with its answer. */
export interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

/** The requests that are being worked on or answered. */
export class Exchanges {
  readonly #open = new Set<Exchange>();
  readonly #handlers = new Set<Promise<unknown>>();
  #isEnding = false;

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

  /** Whether the client at the other end has sent its request and waits for us. */
  isWorkingFor(socket: Socket): boolean {
    return this.#open
      .values()
      .some(
        ({ incoming, outgoing }) =>
          incoming.socket === socket && incoming.complete && !outgoing.headersSent,
      );
  }

  /** From now on a connection is closed once it has its answer, instead of being kept for more. */
  endConnections(): void {
    this.#isEnding = true;
  }

  /** Waits for the handlers that run. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#handlers);
  }
}
