import { Readable } from "node:stream";

import * as v from "valibot";

import { GatheredBytes } from "../gathered-bytes.ts";
import { refusal } from "./refusal.ts";

/** Room for a query about 32 768 paths, which everybody may send. */
const DEFAULT_JSON_BYTES = 2 * 1024 * 1024;

/** How {@link readBody} reads. */
export interface BodyOptions {
  readonly signal: AbortSignal;
  /** How long the next byte may take. */
  readonly idleMs: number;
  readonly maxBytes: number;
}

/** How {@link readJson} reads. */
export interface JsonOptions extends Omit<BodyOptions, "maxBytes"> {
  /** How long the whole body may take. */
  readonly timeoutMs: number;
  /** @default {2_097_152} */
  readonly maxBytes?: number;
}

/**
 * The body's chunks as they arrive, counted.
 *
 * @throws {HTTPException} 413 if the body is announced or found to be longer than `maxBytes`.
 * @throws An error whose cause is a `TimeoutError` if no byte arrives for `idleMs`.
 */
export async function* readBody(
  request: Request,
  { maxBytes, idleMs, signal }: BodyOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const tooLong = refusal(413, `The body is longer than ${maxBytes} bytes`);
  if (Number(request.headers.get("content-length")) > maxBytes) throw tooLong;
  if (request.body === null) return;
  let size = 0;
  const idle = new AbortController();
  const body: AsyncIterable<Uint8Array> = Readable.fromWeb(request.body, {
    signal: AbortSignal.any([signal, idle.signal]),
  });
  const wait = (): NodeJS.Timeout => setTimeout(() => idle.abort(stalled(idleMs)), idleMs);
  let timer = wait();
  try {
    for await (const chunk of body) {
      // A disk that is slow to take a chunk is not the client's fault.
      clearTimeout(timer);
      size += chunk.length;
      if (size > maxBytes) throw tooLong;
      yield chunk;
      timer = wait();
    }
  } finally {
    clearTimeout(timer);
  }
}

function stalled(idleMs: number): DOMException {
  return new DOMException(`No byte arrived for ${idleMs} ms`, "TimeoutError");
}

/**
 * Reads a JSON body of the given shape, whatever its content type says.
 *
 * @throws {HTTPException} 400 if the body is not JSON of that shape, 413 if it is too long.
 * @throws An error whose cause is a `TimeoutError` if the body, or its next byte, takes too long.
 */
export async function readJson<T>(
  request: Request,
  schema: v.GenericSchema<unknown, T>,
  { signal, idleMs, timeoutMs, maxBytes = DEFAULT_JSON_BYTES }: JsonOptions,
): Promise<T> {
  const limits = {
    maxBytes,
    idleMs,
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  };
  const text = await collect(readBody(request, limits));
  const result = v.safeParse(schema, parseJson(text), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const where = v.getDotPath(issue);
  throw refusal(
    400,
    `The body is not as expected${where === null ? "" : ` at ${where.slice(0, 80)}`}`,
  );
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<string> {
  const gathered = new GatheredBytes();
  for await (const chunk of body) gathered.add(chunk);
  return gathered.bytes().toString();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refusal(400, "The body is not JSON");
  }
}
