import type { IncomingMessage } from "node:http";

import * as v from "valibot";

import { GatheredBytes } from "../gathered-bytes.ts";
import { refusal } from "./refusal.ts";

/** Room for a query about 32 768 paths, which everybody may send. */
const DEFAULT_JSON_BYTES = 2 * 1024 * 1024;

/** How {@link readBody} reads. */
export interface BodyOptions {
  /** How long the next byte may take. */
  readonly idleMs: number;
  /** How long the whole body may take. @default {Infinity} */
  readonly timeoutMs?: number;
  readonly maxBytes: number;
}

/** How {@link readJson} reads. */
export interface JsonOptions extends Omit<BodyOptions, "maxBytes"> {
  /** @default {2_097_152} */
  readonly maxBytes?: number;
}

/** Takes the next bytes of a body; nothing more is read before its promise, if any, settles. */
export type TakeChunk = (chunk: Buffer) => Promise<void> | undefined;

/**
 * Hands the body over as it arrives, and counts it. Works with events, since a request for a small
 * path has little to do besides.
 *
 * @throws {HTTPException} 413 if the body is announced or found to be longer than `maxBytes`, 400 if
 *   its client goes away.
 * @throws An error whose cause is a `TimeoutError` if the body, or its next byte, takes too long.
 * @throws What `take` throws.
 */
export async function readBody(
  incoming: IncomingMessage,
  options: BodyOptions,
  take: TakeChunk,
): Promise<void> {
  const { maxBytes, timeoutMs } = options;
  if (Number(incoming.headers["content-length"]) > maxBytes) throw tooLong(maxBytes);
  if (incoming.destroyed) throw goneAway();
  using reading = new BodyReading(incoming, options, take);
  const late = timeoutMs === undefined ? undefined : setTimeout(reading.expire, timeoutMs);
  try {
    await reading.done;
  } finally {
    clearTimeout(late);
  }
}

class BodyReading implements Disposable {
  readonly #incoming: IncomingMessage;
  readonly #options: BodyOptions;
  readonly #take: TakeChunk;
  readonly #done = Promise.withResolvers<void>();
  #idle: NodeJS.Timeout;
  #size = 0;
  #taking: Promise<void> | undefined;

  constructor(incoming: IncomingMessage, options: BodyOptions, take: TakeChunk) {
    this.#incoming = incoming;
    this.#options = options;
    this.#take = take;
    this.#idle = setTimeout(this.expire, options.idleMs);
    incoming.on("data", this.#onData).on("end", this.#onEnd);
    incoming.on("error", this.#onClose).on("close", this.#onClose);
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  readonly expire = (): void => {
    const cause = new DOMException("The body takes too long", "TimeoutError");
    this.#done.reject(new Error("The body did not arrive in time", { cause }));
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#idle);
    this.#incoming.off("data", this.#onData).off("end", this.#onEnd);
    this.#incoming.off("error", this.#onClose).off("close", this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#size += chunk.length;
    if (this.#size > this.#options.maxBytes) {
      this.#done.reject(tooLong(this.#options.maxBytes));
      return;
    }
    try {
      this.#taking = this.#take(chunk);
    } catch (error) {
      this.#done.reject(error);
    }
    if (this.#taking === undefined) this.#idle.refresh();
    else void this.#waitFor(this.#taking);
  };

  async #waitFor(taking: Promise<void>): Promise<void> {
    // A disk that is slow to take a chunk is not the client's fault.
    clearTimeout(this.#idle);
    this.#incoming.pause();
    try {
      await taking;
      this.#idle = setTimeout(this.expire, this.#options.idleMs);
      this.#incoming.resume();
    } catch (error) {
      this.#done.reject(error);
    }
  }

  readonly #onEnd = (): void => {
    // A request that has ended closes at once, which is no sign of anything.
    this[Symbol.dispose]();
    this.#done.resolve(this.#taking);
  };

  readonly #onClose = (): void => this.#done.reject(goneAway());
}

function tooLong(maxBytes: number): Error {
  return refusal(413, `The body is longer than ${maxBytes} bytes`);
}

function goneAway(): Error {
  return refusal(400, "The client went away");
}

/**
 * Reads a JSON body of the given shape, whatever its content type says.
 *
 * @throws {HTTPException} 400 if the body is not JSON of that shape, and as {@link readBody}.
 * @throws An error whose cause is a `TimeoutError` if the body, or its next byte, takes too long.
 */
export async function readJson<T>(
  incoming: IncomingMessage,
  schema: v.GenericSchema<unknown, T>,
  { idleMs, timeoutMs, maxBytes = DEFAULT_JSON_BYTES }: JsonOptions,
): Promise<T> {
  const gathered = new GatheredBytes();
  const limits = { idleMs, maxBytes, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
  await readBody(incoming, limits, (chunk) => {
    gathered.add(chunk);
    return undefined;
  });
  const result = v.safeParse(schema, parseJson(gathered.bytes().toString()), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const where = v.getDotPath(issue);
  throw refusal(
    400,
    `The body is not as expected${where === null ? "" : ` at ${where.slice(0, 80)}`}`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refusal(400, "The body is not JSON");
  }
}
