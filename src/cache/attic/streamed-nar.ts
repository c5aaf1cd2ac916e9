import { HandpickError } from "../../error.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { isTransient } from "../../http/network-error.ts";
import { isRetryable } from "../../http/retry.ts";
import { isSuccess, statusMessage } from "../../http/status-error.ts";
import { onAbort } from "../../on-abort.ts";
import { DelayedAbort } from "../delayed-abort.ts";
import { FIRST_PATIENCE } from "../first-contact.ts";
import { assertNoPage } from "../json-api.ts";
import { assertUploaded } from "./answers.ts";
import { answerError } from "./attic-api.ts";
import { LentPieces } from "./lent-pieces.ts";
import type { NarBody, NarBodyOptions } from "./nar-body.ts";

/**
 * A large NAR that is sent while it is read:
 *
 *     first piece --> other pieces --> end of the body --> answer
 *     sent again      not any more     asks whether it arrived
 *
 * The memory of a piece is used for others once it was taken, so only a request that ended before that can be
 * repeated. The server publishes nothing of a body that was cut off.
 */
export class StreamedNar implements NarBody {
  readonly #options: NarBodyOptions;
  readonly #pieces = new LentPieces();
  readonly #stop = new AbortController();
  #sending: Promise<HttpResponse> | undefined;

  constructor(options: NarBodyOptions) {
    this.#options = options;
  }

  async put(bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const taken = this.#pieces.lend(bytes);
    const ended = this.#send().then((response) => {
      throw isSuccess(response) ? this.#early(response) : answerError(response);
    });
    using _giving = onAbort(signal, () => this.#giveUp(signal.reason));
    // The request ends only when the bytes are no longer in use.
    await Promise.race([taken, ended]);
  }

  async finish(signal: AbortSignal): Promise<HttpResponse> {
    using late = new DelayedAbort(signal, this.#options.abortMs);
    using _giving = onAbort(late.signal, () => this.#giveUp(signal.reason));
    this.#pieces.end();
    try {
      const response = await this.#send();
      if (isSuccess(response)) assertUploaded(response);
      return response;
    } catch (error) {
      signal.throwIfAborted();
      const found = isDoubtful(error) ? await this.#find(signal) : undefined;
      if (found === undefined) throw error;
      return found;
    }
  }

  async drop(): Promise<void> {
    this.#giveUp(new Error("The upload was given up"));
    await this.#sending?.catch(() => undefined); // told by who waits for it
  }

  #giveUp(reason: unknown): void {
    this.#stop.abort(reason);
    this.#pieces.end();
  }

  /** Starts the request, once. */
  #send(): Promise<HttpResponse> {
    const { api } = this.#options;
    if (this.#sending === undefined) {
      this.#sending = api.json.retry(() => this.#attempt(), this.#stop.signal);
      this.#sending.catch(() => undefined); // told with the next piece, or at the end
    }
    return this.#sending;
  }

  async #attempt(): Promise<HttpResponse> {
    const { api, action, description, narSize } = this.#options;
    const descriptionBytes = description.byteLength;
    const body = { sizeBytes: descriptionBytes + narSize, open: () => this.#read() };
    const { signal } = this.#stop;
    const request = api.uploadRequest({ action, descriptionBytes, body, signal });
    const answer = await api.json.client.request(request).catch((error: unknown) => {
      if (!this.#pieces.isBegun || !isTransient(error)) throw error;
      throw interrupted((error as Error).message, error);
    });
    assertNoPage(answer);
    if (!this.#pieces.isBegun || !isRetryable(answer.status)) return answer;
    throw interrupted(statusMessage(answer));
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    yield this.#options.description;
    yield* this.#pieces.read();
  }

  /** Asks whether the path arrived, which a server may have stored and not told of. */
  async #find(signal: AbortSignal): Promise<HttpResponse | undefined> {
    const { api, check, isDone } = this.#options;
    try {
      const found = await api.json.retry(() => check(signal), signal, FIRST_PATIENCE);
      return isSuccess(found) && isDone(found) ? found : undefined;
    } catch {
      signal.throwIfAborted();
      return undefined; // the caller reports what made us ask
    }
  }

  #early({ action }: HttpResponse): HandpickError {
    const message = `Cannot ${action}: expected an answer after the whole NAR, received one before`;
    return new HandpickError("CACHE_PROTOCOL", message);
  }
}

/** Returns true for an error after which the server may have the path: no answer, or none that is understood. */
function isDoubtful(error: unknown): boolean {
  if (!(error instanceof HandpickError)) return false;
  return error.code === "UPLOAD_INTERRUPTED" || error.code === "CACHE_PROTOCOL";
}

function interrupted(message: string, cause?: unknown): HandpickError {
  return new HandpickError("UPLOAD_INTERRUPTED", message, {
    cause,
    hint: "Push again: the upload of a large path cannot be continued where it ended.",
  });
}
