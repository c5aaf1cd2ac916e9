import { HandpickError } from "../../error.ts";
import { parseServerUrl } from "../server-url.ts";

/** Where the API of Cachix is unless told otherwise. */
export const DEFAULT_HOST = "https://cachix.org";

/** The next step after answers that Cachix never gives. */
export const FOREIGN_HINT = "Check that the host of this cache is a Cachix service.";

const CACHIX_URL = /^cachix:\/\/([0-9A-Za-z][0-9A-Za-z._-]{0,99})\/?$/;
const OWN_HOST = /^(?:[a-z0-9-]+\.)?cachix\.org$/;
/** The pages of a cache at Cachix: where people see it, and where readers find it. */
const CACHIX_PAGE =
  /^https?:\/\/(?:app\.cachix\.org\/cache\/|(?!app\.)(?=[a-z0-9-]+\.cachix\.org(?:\/|$)))([a-z0-9-]{1,63})/;
const LIKE_A_NAME = /^(?:cachix:)?([A-Za-z0-9][\w-]{0,63})(?:\.cachix\.org)?$/;

/** The name of the cache at the service for `cachix://NAME`, undefined for other URLs. */
export function cachixName(url: string): string | undefined {
  return CACHIX_URL.exec(url)?.[1];
}

/** Returns the `cachix://NAME` that is meant by a page of Cachix, by `NAME.cachix.org` or by a name alone. */
export function guessCachixUrl(text: string): string | undefined {
  const name = (CACHIX_PAGE.exec(text) ?? LIKE_A_NAME.exec(text))?.[1];
  return name && `cachix://${name}`;
}

/**
 * Reads `cachix://NAME` and gives the name.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is anything else.
 */
export function parseCachixUrl(url: string): string {
  const name = cachixName(url);
  if (name === undefined) {
    throw new HandpickError(
      "CACHE_URL_UNSUPPORTED",
      `Cannot use the cache URL ${JSON.stringify(url.slice(0, 80))}: expected cachix://NAME`,
      { hint: "Write letters, digits, dots, dashes and underscores after cachix://." },
    );
  }
  return name;
}

/** Returns true for a server of Cachix itself, by TLS on its usual port; others have the same API. */
export function isCachixOwn({ protocol, hostname, port }: URL): boolean {
  return protocol === "https:" && port === "" && OWN_HOST.test(hostname);
}

/**
 * Reads the base URL of the service; see {@link parseServerUrl}.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it is no plain http or https URL.
 */
export function parseHost(host: string): URL {
  return parseServerUrl(host, DEFAULT_HOST);
}
