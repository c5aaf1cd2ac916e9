import { HandpickError } from "../../error.ts";
import { queryFault } from "../nix-parameters.ts";

const AUTHORITY = /^https?:\/\/([^/?#]*)/;
const CREDENTIALS =
  "must not contain a user name or password; name a token-file or netrc-file in [caches.NAME] of the configuration";

/**
 * The rule that the URL of a cache on a web server breaks, to be said after "it"; undefined if none. The URL is
 * not repeated: what is wrong with it may be a password in it.
 */
export function httpUrlFault(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return "is not a valid URL";
  if (hasCredentials(text) || url.username !== "" || url.password !== "") return CREDENTIALS;
  if (url.search !== "") return queryFault(url.search.slice(1));
  return text.includes("#") || text.includes("?") ? "must not have a # or a ? in it" : undefined;
}

/** The same for what no standard finds in a URL that is broken besides. */
export function httpTextFault(text: string): string | undefined {
  return hasCredentials(text) ? CREDENTIALS : undefined;
}

function hasCredentials(text: string): boolean {
  return AUTHORITY.exec(text)?.[1]?.includes("@") === true;
}

/**
 * Reads `http://HOST/DIR` or `https://HOST/DIR` and gives the address below which the cache lies, with a slash
 * at its end.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is anything else.
 */
export function parseHttpUrl(text: string): URL {
  const isWeb = /^https?:\/\//.test(text);
  const fault = isWeb ? httpUrlFault(text) : "must start with http:// or https://";
  if (fault !== undefined) {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot use the URL of the cache: it ${fault}`,
    );
  }
  const { origin, pathname } = new URL(text);
  return new URL(`${origin}${pathname.replace(/\/*$/, "/")}`);
}

/** Spells a URL without fault in the one way: host in small letters, no usual port, no slash at the end. */
export function canonicalHttpUrl(text: string): string {
  return parseHttpUrl(text).href.replace(/\/$/, "");
}
