import type { ClientRequest } from "node:http";

import type { HttpRequest, StreamBody } from "./http-message.ts";
import { SENT_STEP_BYTES } from "./watchdog.ts";
import type { Watchdog } from "./watchdog.ts";

/** Small enough that TLS never holds a second copy of a part and that progress is seen. */
const SLICE_BYTES = SENT_STEP_BYTES;
const NOTHING = new Uint8Array();

export interface BodySenderOptions {
  readonly outgoing: ClientRequest;
  readonly request: HttpRequest;
  readonly watchdog: Watchdog;
  /** Told the error of a source, or of one whose size is another than it said. */
  readonly reject: (error: unknown) => void;
}

/** The size of the body of a request, undefined if that is not known. */
export function bodySizeOf({ method, body }: HttpRequest): number | undefined {
  if (body === undefined) return method === "POST" ? 0 : undefined;
  return isStream(body) ? body.sizeBytes : body.byteLength;
}

/** Sends the body of a request, and ends the request. */
export class BodySender {
  /** True as soon as the system has all of the body. */
  isSent = false;
  readonly #options: BodySenderOptions;
  #isAnswered = false;
  #isOver = false;
  #giveUpWrite: (() => void) | undefined;
  #streaming: Promise<void> | undefined;

  constructor(options: BodySenderOptions) {
    this.#options = options;
  }

  start(): void {
    const { body } = this.#options.request;
    if (body !== undefined && isStream(body)) this.#streaming = this.#stream(body);
    else this.#sendFrom(0, body);
  }

  /** Sends no more after an answer that is no success: its sender closes rather than read on. */
  answered(status: number): void {
    this.#isAnswered = true;
    this.#isOver ||= status >= 300;
  }

  /** Settles when the source, if there is one, is closed. Called as soon as no more bytes go. */
  stop(): Promise<void> | undefined {
    this.#isOver = true;
    this.#giveUpWrite?.();
    return this.#streaming;
  }

  #sendFrom(offset: number, body: Uint8Array | undefined): void {
    const { outgoing, watchdog } = this.#options;
    if (outgoing.destroyed || this.#isOver) return;
    const next = offset + SLICE_BYTES;
    if (body === undefined || next >= body.byteLength) {
      this.#end(body?.subarray(offset));
      return;
    }
    outgoing.write(body.subarray(offset, next), (error) => {
      if (error) return; // the request reports it
      watchdog.moved(SLICE_BYTES);
      this.#sendFrom(next, body);
    });
  }

  #end(bytes: Uint8Array | undefined): void {
    const { outgoing, watchdog } = this.#options;
    outgoing.end(bytes, () => {
      this.isSent = true;
      watchdog.sent();
    });
  }

  async #stream(body: StreamBody): Promise<void> {
    const { watchdog, reject } = this.#options;
    try {
      // A source has nothing to do for a server that cannot be reached. A head that announces no
      // bytes is complete by itself, so it waits as the end of any body does.
      if (body.sizeBytes !== 0 && !(await this.#write(NOTHING))) return;
      const end = await this.#sendPieces(body);
      if (this.#isOver) return;
      watchdog.resume();
      this.#end(end);
    } catch (error) {
      if (!this.#isOver) reject(error);
    }
  }

  /** Returns what completes a body of known size: it is sent when the source is known to end there. */
  async #sendPieces(body: StreamBody): Promise<Uint8Array | undefined> {
    const { sizeBytes } = body;
    let size = 0;
    let end: Uint8Array | undefined;
    for await (const piece of body.open()) {
      if (this.#isOver) return;
      if (piece.byteLength === 0) continue;
      size += piece.byteLength;
      if (sizeBytes !== undefined && size > sizeBytes)
        throw this.#wrongSize(body, `${size} or more`);
      const kept = size === sizeBytes ? Math.min(piece.byteLength, SLICE_BYTES) : 0;
      // A copy, as the piece may not be used once its source is asked to go on.
      if (kept > 0) end = Buffer.from(piece.subarray(-kept));
      if (!(await this.#writeSlices(piece.subarray(0, piece.byteLength - kept)))) return;
    }
    if (sizeBytes !== undefined && size < sizeBytes) throw this.#wrongSize(body, `${size}`);
    return end;
  }

  async #writeSlices(bytes: Uint8Array): Promise<boolean> {
    for (let offset = 0; offset < bytes.byteLength; offset += SLICE_BYTES) {
      if (!(await this.#write(bytes.subarray(offset, offset + SLICE_BYTES)))) return false;
    }
    return true;
  }

  /** Returns true as soon as the system has the bytes, false if no more are to be sent. */
  #write(bytes: Uint8Array): Promise<boolean> {
    const { outgoing, watchdog } = this.#options;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#giveUpWrite = () => resolve(false);
    // Sockets are read before this runs. An answer that is there would be lost with a failing write.
    setImmediate(() => {
      if (this.#isOver) return resolve(false);
      watchdog.resume();
      outgoing.write(bytes, (error) => {
        if (error) return; // the request reports it
        watchdog.moved(bytes.byteLength);
        if (!this.#isAnswered) watchdog.pause();
        resolve(!this.#isOver);
      });
    });
    return promise;
  }

  #wrongSize({ sizeBytes }: StreamBody, found: string): RangeError {
    const { action } = this.#options.request;
    return new RangeError(
      `Cannot ${action}: expected a body of ${sizeBytes} bytes, found ${found}`,
    );
  }
}

function isStream(body: Uint8Array | StreamBody): body is StreamBody {
  return "open" in body;
}
