import type { IncomingHttpHeaders } from "node:http";

/** One request to a cache or to the storage behind it. */
export interface HttpRequest {
  /** The action as it follows "Cannot" in a message: `read the pins of cache "mine"`. */
  readonly action: string;
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent without copying; `content-length` is set from its size. */
  readonly body?: Uint8Array<ArrayBuffer> | StreamBody | undefined;
  /**
   * How much of an answer is accepted, in bytes. Of one that is no success, where successes are read
   * as they arrive, no more than the default. @default {1_048_576}
   */
  readonly maxBytes?: number | undefined;
  /** False to get a redirect as the answer. @default {true} */
  readonly followsRedirects?: boolean | undefined;
  readonly signal: AbortSignal;
}

/** How long an answer may be that is kept in memory, in bytes. */
export const DEFAULT_MAX_BYTES: number = 1024 * 1024;

/** How much of an answer the request accepts, in bytes. */
export function mostBytesOf({ maxBytes = DEFAULT_MAX_BYTES }: HttpRequest): number {
  return maxBytes;
}

/** A body that is read while it is sent. */
export interface StreamBody {
  /** Without it the body goes in chunks. */
  readonly sizeBytes: number | undefined;
  /**
   * Begins from the start; called once for each request, as soon as there is a connection. A piece is
   * in use until the next is asked for or the iterator closed. The request settles only when the
   * iterator is closed, so one that waits long has to heed the signal of the request.
   */
  open(): AsyncIterable<Uint8Array>;
}

/** An answer, whatever its status. */
export interface HttpResponse {
  /** That of the request. */
  readonly action: string;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A success whose body is read while it arrives. */
export interface StreamedResponse extends Omit<HttpResponse, "body"> {
  /** For one reader. Throws the error that the request fails with. */
  readonly body: AsyncIterable<Buffer>;
}

/** Reads a success; the connection is closed where it settles before the end of the body. */
export type OnSuccess = (response: StreamedResponse) => Promise<void>;

/** How long a request may stand still. All in milliseconds. */
export interface Timeouts {
  /** Without progress while connecting, sending (64 KiB) or receiving (16 KiB, or all of it). */
  readonly idleMs: number;
  /** From the last byte sent to the first of the answer; grows by 1 s with every MiB that was sent. */
  readonly answerMs: number;
  /** The whole of one request but for the time that the peer waits for us, a trickling one too; grows by 1 s with every 16 KiB that came through. */
  readonly totalMs: number;
}

/** Cloudflare gives up on its origin after about 120 s and tells us so; we wait longer than that. */
export const DEFAULT_TIMEOUTS: Timeouts = {
  idleMs: 60_000,
  answerMs: 180_000,
  totalMs: 900_000,
};

/** Host and port of a URL, which is all of it that messages may show. */
export function endpointOf(url: URL): string {
  return `${url.hostname}:${url.port || (url.protocol === "https:" ? "443" : "80")}`;
}

/** The next step after answers that no cache gives, where the kind of cache has none of its own. */
export const FOREIGN_HINT = "Check that this address is that of a binary cache.";
