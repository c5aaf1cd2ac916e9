import { Readable } from "node:stream";

import * as v from "valibot";

import { GatheredBytes } from "../gathered-bytes.ts";
import { refusal } from "./refusal.ts";

/** Room for a query about 32 768 paths, which everybody may send. */
const DEFAULT_JSON_BYTES = 2 * 1024 * 1024;

/** How {@link readJson} reads. */
export interface JsonOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** @default {2_097_152} */
  readonly maxBytes?: number;
}

/**
 * The body's chunks as they arrive, counted.
 *
 * @throws {HTTPException} 413 if the body is announced or found to be longer than `maxBytes`.
 */
export async function* readBody(
  request: Request,
  { maxBytes, signal }: { readonly maxBytes: number; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array, void, undefined> {
  const tooLong = refusal(413, `The body is longer than ${maxBytes} bytes`);
  if (Number(request.headers.get("content-length")) > maxBytes) throw tooLong;
  if (request.body === null) return;
  let size = 0;
  const body: AsyncIterable<Uint8Array> = Readable.fromWeb(request.body, {
    signal,
  });
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw tooLong;
    yield chunk;
  }
}

/**
 * Reads a JSON body of the given shape, whatever its content type says.
 *
 * @throws {HTTPException} 400 if the body is not JSON of that shape, 413 if it is too long.
 */
export async function readJson<T>(
  request: Request,
  schema: v.GenericSchema<unknown, T>,
  { signal, timeoutMs, maxBytes = DEFAULT_JSON_BYTES }: JsonOptions,
): Promise<T> {
  const limits = {
    maxBytes,
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
