import { HandpickError } from "../error.ts";
import type { ErrorCode } from "../error.ts";
import { excerpt } from "./excerpt.ts";
import type { HttpResponse } from "./http-message.ts";
import { DISK_FULL, isRetryable } from "./retry.ts";

/** Returns true if the request did what it was sent for. */
export function isSuccess({ status }: HttpResponse): boolean {
  return status >= 200 && status < 300;
}

/** Returns true if our credentials, or the lack of them, were the reason of the answer. */
export function isRefusal({ status }: HttpResponse): boolean {
  return status === 401 || status === 403;
}

/** Returns true if the server says that it has no such file. */
export function isAbsent({ status }: HttpResponse): boolean {
  return status === 404 || status === 410;
}

/** Tells whether an answer is a page for people: that of a gateway in between, not of a cache. */
export function isPage({ headers, body }: HttpResponse): boolean {
  if (/html/i.test(headers["content-type"] ?? "")) return true;
  return /^\s*<(?:!doctype\s+html|html|head|body)\b/i.test(body.toString("latin1", 0, 200));
}

/** The next step after a refusal that {@link isPage}. */
export const PAGE_HINT =
  "Check which gateway, proxy or login page answers in place of the cache: its page says nothing of the token.";

/**
 * The error for an answer that is no success.
 *
 * @param rejected The code for a 4xx which says that this very request is not acceptable.
 */
export function statusError(
  response: HttpResponse,
  rejected: ErrorCode = "CACHE_PROTOCOL",
): HandpickError {
  return new HandpickError(codeOf(response, rejected), statusMessage(response), {
    hint: hintOf(response),
  });
}

/** Returns a message of the attempt and its answer, without secrets. */
export function statusMessage({ action, status, body }: HttpResponse): string {
  const text = excerpt(body.toString());
  return `Cannot ${action}: expected status 200, received ${status}${text && `: ${text}`}`;
}

function codeOf(response: HttpResponse, rejected: ErrorCode): ErrorCode {
  if (isRefusal(response)) return "CACHE_REFUSED";
  if (isRetryable(response.status)) return "CACHE_UNAVAILABLE";
  return response.status >= 400 ? rejected : "CACHE_PROTOCOL";
}

function hintOf(response: HttpResponse): string | undefined {
  if (isRefusal(response) && isPage(response)) return PAGE_HINT;
  if (isRefusal(response)) {
    return "Check that the token is valid, belongs to this cache and may do this.";
  }
  if (response.status === DISK_FULL) return "Make room where the cache is stored, then push again.";
  if (response.status < 400) {
    return "Check the host of this cache: name the address that it leads to.";
  }
  if (isRetryable(response.status)) return "The cache has trouble or limits us; run again later.";
  return "The cache does not take this, however often; ask its operator if the answer gives no reason.";
}
