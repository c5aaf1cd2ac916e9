import type { ClientRequest, IncomingMessage } from "node:http";

import { HandpickError } from "../error.ts";
import { GatheredBytes } from "../gathered-bytes.ts";
import { DEFAULT_MAX_BYTES, endpointOf, mostBytesOf } from "./http-message.ts";
import type { HttpRequest, HttpResponse, OnSuccess } from "./http-message.ts";
import type { BodySender } from "./body-sender.ts";
import type { Watchdog } from "./watchdog.ts";

const NOTHING = Buffer.alloc(0);

export interface AnswerReceiverOptions {
  readonly outgoing: ClientRequest;
  readonly request: HttpRequest;
  readonly watchdog: Watchdog;
  /** The next step after answers that no cache gives. */
  readonly foreignHint: string;
  readonly onSuccess: OnSuccess | undefined;
  readonly resolve: (response: HttpResponse) => void;
  /** Ends the request with an error that is no fault of the network. */
  readonly reject: (error: unknown) => void;
  /** Ends the request, and returns the error that it ends with. */
  readonly fail: (error: unknown) => unknown;
}

/** Receives the answer to a request. */
export class AnswerReceiver {
  readonly #options: AnswerReceiverOptions;
  #incoming: IncomingMessage | undefined;
  #reading: Promise<void> | undefined;
  /** The error of the connection, which says more than that of an answer without end. */
  #cause: unknown;

  constructor(options: AnswerReceiverOptions) {
    this.#options = options;
  }

  /** Returns true if the answer has come to its end, so that the connection can serve others. */
  get isRead(): boolean {
    return this.#incoming?.readableEnded ?? false;
  }

  start(sender: BodySender): void {
    const { outgoing, watchdog, fail } = this.#options;
    const closed = (): void => void fail(new Error("the connection was closed without an answer"));
    // A body that the server does not read to its end may fail after the answer, which counts.
    outgoing.on("error", (error) => {
      this.#cause = error;
      if (this.#incoming === undefined) fail(error);
    });
    outgoing.on("close", closed);
    outgoing.on("response", (incoming) => {
      this.#incoming = incoming;
      outgoing.off("close", closed);
      sender.answered(incoming.statusCode ?? 0);
      watchdog.answered();
      this.#receive(incoming);
    });
  }

  /** Settles when `onSuccess`, if it was called, has ended. Called as soon as no more bytes come. */
  stop(): Promise<void> | undefined {
    return this.#reading;
  }

  #receive(incoming: IncomingMessage): void {
    const { request, watchdog, onSuccess, resolve, reject } = this.#options;
    const { action } = request;
    const { statusCode: status = 0, headers } = incoming;
    if (onSuccess === undefined || status < 200 || status >= 300) {
      this.#readWhole(incoming, { action, status, headers });
      return;
    }
    const head = { action, status, headers };
    const body = this.#readPieces(incoming);
    watchdog.pause();
    const read = async (): Promise<void> => onSuccess({ ...head, body });
    this.#reading = read().then(() => resolve({ ...head, body: NOTHING }), reject);
  }

  /** By events: iterating over an answer costs twice what reading it does. */
  #readWhole(incoming: IncomingMessage, head: Omit<HttpResponse, "body">): void {
    const { request, watchdog, onSuccess, resolve } = this.#options;
    // The bound of a stream is not one for what is kept in memory.
    const mostBytes = mostBytesOf(request);
    const limit = onSuccess === undefined ? mostBytes : Math.min(mostBytes, DEFAULT_MAX_BYTES);
    const gathered = new GatheredBytes();
    incoming.on("error", (error) => this.#fail(error));
    incoming.on("close", () => {
      if (!this.isRead) this.#fail(new Error("the connection was closed within the answer"));
    });
    incoming.on("end", () => resolve({ ...head, body: gathered.bytes() }));
    incoming.on("data", (chunk: Buffer) => {
      if (gathered.size + chunk.byteLength > limit) {
        incoming.destroy(this.#tooLarge(limit));
        return;
      }
      gathered.add(chunk);
      watchdog.moved(chunk.byteLength);
    });
  }

  async *#readPieces(incoming: IncomingMessage): AsyncGenerator<Buffer, void> {
    const { request, watchdog } = this.#options;
    const maxBytes = mostBytesOf(request);
    let size = 0;
    try {
      watchdog.resume();
      for await (const piece of incoming as AsyncIterable<Buffer>) {
        watchdog.pause();
        size += piece.byteLength;
        if (size > maxBytes) throw this.#tooLarge(maxBytes);
        watchdog.moved(piece.byteLength);
        yield piece;
        watchdog.resume();
      }
    } catch (error) {
      throw this.#fail(error);
    } finally {
      watchdog.pause();
    }
  }

  #fail(error: unknown): unknown {
    return this.#options.fail(error instanceof HandpickError ? error : (this.#cause ?? error));
  }

  #tooLarge(maxBytes: number): HandpickError {
    const { request, foreignHint: hint } = this.#options;
    const rule = `expected at most ${maxBytes} bytes from ${endpointOf(request.url)}, received more`;
    return new HandpickError("CACHE_PROTOCOL", `Cannot ${request.action}: ${rule}`, { hint });
  }
}
