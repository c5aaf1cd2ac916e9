import type { HttpResponse } from "../../http/http-message.ts";
import type { AtticApi } from "./attic-api.ts";

/** The body of one PUT, which takes a NAR piece by piece. */
export interface NarBody {
  /** Takes the next bytes of the NAR; their memory is free again once this settles. */
  put(bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void>;
  /**
   * Ends the body, which makes the server publish the path. Returns the answer to the PUT, or to a question
   * that shows that the path is there.
   */
  finish(signal: AbortSignal): Promise<HttpResponse>;
  /** Gives up what was not ended yet. */
  drop(): Promise<void>;
}

export interface NarBodyOptions {
  readonly api: AtticApi;
  /** The upload as it follows "Cannot" in a message. */
  readonly action: string;
  /** The JSON that an upload begins with, before its NAR. */
  readonly description: Uint8Array;
  /** In bytes. */
  readonly narSize: number;
  /** How long an answer may take that was due before Ctrl-C, in milliseconds. */
  readonly abortMs: number;
  /** Asks, once, whether the cache has the path. */
  readonly check: (signal: AbortSignal) => Promise<HttpResponse>;
  /** Returns true if the answer to `check` says that it has. */
  readonly isDone: (found: HttpResponse) => boolean;
}
