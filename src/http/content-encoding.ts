import { promisify } from "node:util";
import type * as Zlib from "node:zlib";

import { HandpickError } from "../error.ts";
import { excerpt } from "./excerpt.ts";
import type { HttpResponse } from "./http-message.ts";

type Decode = (body: Buffer, limits: { readonly maxOutputLength: number }) => Promise<Buffer>;

const DECODERS: Readonly<Partial<Record<string, (zlib: typeof Zlib) => unknown>>> = {
  gzip: (zlib) => zlib.gunzip,
  "x-gzip": (zlib) => zlib.gunzip,
  deflate: (zlib) => zlib.inflate,
  br: (zlib) => zlib.brotliDecompress,
  zstd: (zlib) => zlib.zstdDecompress,
};

/** Loads Node's compression when it is needed, which is seldom. */
function decoderOf(coding: string): Decode | undefined {
  const find = DECODERS[coding];
  return find && promisify(find(process.getBuiltinModule("node:zlib")) as never);
}

/**
 * Undoes the compression of an answer. We ask for none, but a server of files may have them compressed, and
 * sends them so to everybody.
 *
 * @param maxBytes How long the text may become.
 * @param hint The next step where it is not understood.
 * @throws {HandpickError} `CACHE_PROTOCOL` if it is not compressed as it says, or becomes longer.
 */
export async function decoded(
  response: HttpResponse,
  { maxBytes, hint }: { readonly maxBytes: number; readonly hint: string },
): Promise<HttpResponse> {
  const coding = response.headers["content-encoding"]?.trim().toLowerCase() ?? "identity";
  if (coding === "identity" || coding === "" || response.body.length === 0) return response;
  const fail = (found: string, cause?: unknown): HandpickError =>
    new HandpickError("CACHE_PROTOCOL", `Cannot ${response.action}: ${found}`, { cause, hint });
  const decode = decoderOf(coding);
  if (decode === undefined) {
    throw fail(
      `expected a plain or compressed answer, received Content-Encoding ${excerpt(coding)}`,
    );
  }
  try {
    return { ...response, body: await decode(response.body, { maxOutputLength: maxBytes }) };
  } catch (cause) {
    const isLong = cause instanceof RangeError;
    const found = isLong ? `more than ${maxBytes} bytes` : "something else";
    throw fail(`expected an answer of Content-Encoding ${coding}, received ${found}`, cause);
  }
}
