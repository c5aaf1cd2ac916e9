import { type ErrorCode, HandpickError } from "../../error.ts";
import { excerpt } from "../../http/excerpt.ts";
import { endpointOf, type HttpResponse } from "../../http/http-message.ts";
import { isPage } from "../../http/status-error.ts";
import { isRetryable } from "../../http/retry.ts";

/** The meaning of an answer for a cache that is files on a web server. */
interface Meaning {
  readonly code: ErrorCode;
  readonly hint: string;
}

const READ_ONLY: Meaning = {
  code: "CACHE_READ_ONLY",
  hint: "This server takes no PUT: it is read-only, or its WebDAV is off (dav_methods PUT of nginx).",
};

const TROUBLE = "The server has trouble or limits us; run again later.";
/** nginx answers so where it cannot give a file its name. */
const TROUBLE_500 =
  "Look into the log of the server. nginx answers so where the folder nar is missing and create_full_put_path is off, or its user may not write.";

const MEANINGS: ReadonlyMap<number, Meaning> = new Map([
  [
    401,
    { code: "CACHE_REFUSED", hint: "Check the token, or the user and password, for this server." },
  ],
  [
    403,
    {
      code: "CACHE_REFUSED",
      hint: "Check that the server lets us in, and lets us write there; its own user needs permission for the folder too.",
    },
  ],
  [
    404,
    { code: "CACHE_NOT_FOUND", hint: "Check the url of this cache: nothing there takes files." },
  ],
  [405, READ_ONLY],
  [501, READ_ONLY],
  [
    409,
    {
      code: "UPLOAD_REJECTED",
      hint: "A folder is missing on the server: set create_full_put_path on in nginx, or make the folder nar there.",
    },
  ],
  [
    411,
    {
      code: "UPLOAD_REJECTED",
      hint: "We sent the length: look for a proxy in between that leaves Content-Length out.",
    },
  ],
  [
    413,
    {
      code: "UPLOAD_REJECTED",
      hint: "Raise the limit of the server and of each proxy before it: client_max_body_size 0 in nginx.",
    },
  ],
  [
    507,
    {
      code: "UPLOAD_REJECTED",
      hint: "Make room where the cache is stored, then push again.",
    },
  ],
]);

/** The error for an answer of a web server that is no success. */
export function answerError(response: HttpResponse): HandpickError {
  const { action, status } = response;
  const { code, hint } = meaningOf(response);
  const found = `status ${status}${locationOf(response)}${wordsOf(response)}`;
  return new HandpickError(code, `Cannot ${action}: expected a success, received ${found}`, {
    hint,
  });
}

/**
 * The error for a page that is said to be the success of a request which stores something: a login page on the
 * way answers 200 to everything.
 */
export function pageError({ action }: HttpResponse): HandpickError {
  return new HandpickError(
    "CACHE_PROTOCOL",
    `Cannot ${action}: expected an answer without a page, received a page of HTML`,
    { hint: "Check the url of this cache, and that no login page of a network is in between." },
  );
}

function meaningOf({ status }: HttpResponse): Meaning {
  const known = MEANINGS.get(status);
  if (known !== undefined) return known;
  if (isRetryable(status)) {
    return { code: "CACHE_UNAVAILABLE", hint: status === 500 ? TROUBLE_500 : TROUBLE };
  }
  if (status < 400) {
    return {
      code: "CACHE_PROTOCOL",
      hint: "A redirect is not followed with what we send: name the address that it leads to as the url of this cache.",
    };
  }
  return {
    code: "UPLOAD_REJECTED",
    hint: "The server does not take this, however often; its log may say why.",
  };
}

/** Says where a redirect leads, without what may be secret in it. */
function locationOf({ headers, status }: HttpResponse): string {
  const url = status < 400 ? URL.parse(headers.location ?? "") : null;
  if (url === null) return "";
  const path = excerpt(url.pathname);
  return ` to ${url.protocol}//${url.port === "" ? url.hostname : endpointOf(url)}${path}`;
}

/** The words of a server; of a page only its title. */
function wordsOf(response: HttpResponse): string {
  const text = response.body.toString();
  if (!isPage(response)) {
    const words = excerpt(text);
    return words && `: ${words}`;
  }
  const title = excerpt(/<title>([^<]{1,200})<\/title>/i.exec(text)?.[1] ?? "");
  return title === "" ? ": a page of HTML" : `: a page, ${JSON.stringify(title)}`;
}
