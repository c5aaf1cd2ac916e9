import { HandpickError } from "../../error.ts";
import type { UploadPart } from "../contract.ts";
import type { HttpRequest, HttpResponse } from "../../http/http-message.ts";
import { isRetryable } from "../../http/retry.ts";
import {
  isPage,
  isRefusal,
  isSuccess,
  PAGE_HINT,
  statusError,
  statusMessage,
} from "../../http/status-error.ts";
import { FOREIGN_HINT } from "./cachix-url.ts";

const LONGEST_ETAG = 1024;

/**
 * The request that puts a part into storage. `content-md5` is part of the URL's signature, and
 * storage refuses a request that has an `authorization` besides.
 */
export function putRequest(
  { bytes, md5 }: UploadPart,
  request: Pick<HttpRequest, "action" | "url" | "signal">,
): HttpRequest {
  return {
    ...request,
    method: "PUT",
    headers: { "content-type": "application/octet-stream", "content-md5": md5 },
    body: bytes,
  };
}

/** Returns true if storage does not take this part under this URL, however often it is sent. */
export function isRejected(response: HttpResponse): boolean {
  return !isSuccess(response) && !isRetryable(response.status);
}

/** The error for a part that {@link isRejected} under a second URL as well. */
export function rejectedByStorage(response: HttpResponse): HandpickError {
  if (!isRefusal(response)) return statusError(response, "UPLOAD_REJECTED");
  return new HandpickError("UPLOAD_REJECTED", statusMessage(response), {
    hint: isPage(response)
      ? PAGE_HINT
      : "If this line is slow, fewer uploads at once may let each part arrive in time.",
  });
}

/**
 * The ETag as storage spelled it, quotes included: it is given back byte for byte.
 *
 * @throws {HandpickError} `CACHE_PROTOCOL` if there is none that could be given back.
 */
export function etagOf({ action, headers: { etag } }: HttpResponse): string {
  if (etag === undefined || etag === "" || etag.length > LONGEST_ETAG) {
    throw new HandpickError(
      "CACHE_PROTOCOL",
      `Cannot ${action}: expected an ETag from the storage, received ${etag ? "a huge one" : "none"}`,
      { hint: FOREIGN_HINT },
    );
  }
  return etag;
}
