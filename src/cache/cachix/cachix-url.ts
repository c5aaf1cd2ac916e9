import { HandpickError } from "../../error.ts";

/** Where the API of Cachix is unless told otherwise. */
export const DEFAULT_HOST = "https://cachix.org";

/** The next step after answers that Cachix never gives. */
export const FOREIGN_HINT = "Check that the host of this cache is a Cachix service.";

const CACHIX_URL = /^cachix:\/\/([0-9A-Za-z][0-9A-Za-z._-]{0,99})\/?$/;

/**
 * Reads `cachix://NAME` and gives the name.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is anything else.
 */
export function parseCachixUrl(url: string): string {
  const name = CACHIX_URL.exec(url)?.[1];
  if (name === undefined) {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot use the cache URL ${JSON.stringify(url.slice(0, 80))}: expected cachix://NAME`,
      { hint: "Write letters, digits, dots, dashes and underscores after cachix://." },
    );
  }
  return name;
}

/** Tells whether a base URL is one of Cachix's own, and not of another server with the same API. */
export function isCachixOwn({ protocol, hostname }: URL): boolean {
  return protocol === "https:" && /(?:^|\.)cachix\.org$/.test(hostname);
}

/**
 * Reads the base URL of the service; a path in it is kept as prefix, without its last slash.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is no plain http or https URL.
 */
export function parseHost(host: string): URL {
  const url = URL.parse(host);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  // A URL with credentials is not quoted: they would stand in the message.
  if (url === null || !isWeb || url.username || url.password || url.search || url.hash) {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      "Cannot use the host of a cache: expected http:// or https:// without credentials or query",
      { hint: `Write it like ${DEFAULT_HOST}; the token has its own setting.` },
    );
  }
  url.pathname = url.pathname.replace(/\/$/, "");
  return url;
}
