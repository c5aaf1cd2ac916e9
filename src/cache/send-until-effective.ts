import type { HttpResponse } from "../http/http-message.ts";
import { isRetryable } from "../http/retry.ts";
import { isRefusal, isSuccess } from "../http/status-error.ts";
import type { JsonApi } from "./json-api.ts";

/** A call whose answer can get lost although the service did what it was asked. */
export interface Effect {
  /** The call itself, once. */
  readonly send: () => Promise<HttpResponse>;
  /** Asks, once, for something that shows whether the call took effect. */
  readonly check: () => Promise<HttpResponse>;
  /** Returns true if a successful answer to `check` shows the effect. */
  readonly isDone: (found: HttpResponse) => boolean;
}

/**
 * Sends until there is an answer, and never again what took effect already: after a cut connection
 * or a 5xx the service may still have worked, as Cloudflare gives up before its origin does.
 * Returns a success, or the answer that ended it.
 *
 * @throws What `send` or `check` threw last.
 */
export async function sendUntilEffective(
  api: Pick<JsonApi, "retry">,
  { send, check, isDone }: Effect,
  signal: AbortSignal,
): Promise<HttpResponse> {
  let sends = 0;
  const attempt = async (): Promise<HttpResponse> => {
    if (sends > 0) {
      const found = await check();
      const settled = isSuccess(found)
        ? isDone(found)
        : isRefusal(found) || isRetryable(found.status);
      if (settled) return found;
    }
    sends++;
    return send();
  };
  const checkAgain = async (): Promise<HttpResponse | undefined> => {
    try {
      const found = await check();
      return isSuccess(found) && isDone(found) ? found : undefined;
    } catch {
      return undefined; // the caller reports what made us ask
    }
  };
  let last: HttpResponse;
  try {
    last = await api.retry(attempt, signal);
  } catch (error) {
    signal.throwIfAborted();
    const found = sends > 0 ? await checkAgain() : undefined;
    if (found === undefined) throw error;
    return found;
  }
  // A second call about an upload that is complete may well be answered by a 4xx.
  const isDoubtful = sends > 1 || isRetryable(last.status);
  if (isSuccess(last) || isRefusal(last) || !isDoubtful) return last;
  return (await checkAgain()) ?? last;
}
