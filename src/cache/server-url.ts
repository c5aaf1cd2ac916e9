import { HandpickError } from "../error.ts";

const CREDENTIALS = "must not contain a user name or password";
/** In characters. */
export const LONGEST_URL: number = 2048;
const URL_SHAPE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\s]*)([^\s]*)$/;
// oxlint-disable-next-line no-control-regex -- finding them is the purpose
const CONTROL = /[\u0000-\u0020\u007f-\u009f]/;

/** The rule that the URL of a server breaks, to be said after "it"; undefined if none. */
export function serverUrlFault(text: string): string | undefined {
  const fault = urlShapeFault(text, "http://127.0.0.1:8080");
  if (fault !== undefined) return fault;
  if (!/^https?:/.test(text)) return "must start with http:// or https://";
  const url = URL.parse(text);
  if (url === null) return "is not a valid URL";
  // The standard finds them behind more slashes as well: http:///user:password@host.
  return url.username || url.password ? CREDENTIALS : undefined;
}

/** The rule of all URLs that a text breaks, to be said after "it"; undefined if none. */
export function urlShapeFault(text: string, example: string): string | undefined {
  if (text.length > LONGEST_URL) return `must have at most ${LONGEST_URL} characters`;
  const authority = URL_SHAPE.exec(text)?.[2];
  if (authority === undefined || CONTROL.test(text)) return `must be a URL such as ${example}`;
  return authority.includes("@") ? CREDENTIALS : undefined;
}

/**
 * Reads the base URL of a server; a path in it is kept as prefix, without its last slash.
 *
 * @param example For people.
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is no plain http or https URL.
 */
export function parseServerUrl(text: string, example: string): URL {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  // A URL with credentials is not quoted: they would stand in the message.
  if (url === null || !isWeb || url.username || url.password || url.search || url.hash) {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      "Cannot use the host of a cache: expected http:// or https:// without credentials or query",
      { hint: `Write it like ${example}; the token has its own setting.` },
    );
  }
  url.pathname = url.pathname.replace(/\/$/, "");
  return url;
}
