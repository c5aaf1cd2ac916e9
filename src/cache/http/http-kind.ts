import { faultOf, FormatError } from "../../nix/format-error.ts";
import { NIXOS_CACHE } from "../../nix/nixos-cache.ts";
import { HandpickError } from "../../error.ts";
import { COMPANION_KEYS, SIGNED_BY_US } from "../binary-cache.ts";
import { ANY_PARTS } from "../contract.ts";
import { type CacheKind, type ClientConfig, type ClientFileOptions, READER_KEYS } from "../kind.ts";
import { createLayoutCache } from "../layout/layout-cache.ts";
import { HttpObjects } from "./http-objects.ts";
import { canonicalHttpUrl, httpTextFault, httpUrlFault, parseHttpUrl } from "./http-url.ts";
import { findLogin } from "./netrc.ts";
import { netrcPath } from "./netrc-path.ts";

/** Caches on web servers that take PUT, reached by TLS. */
export const httpsKind: CacheKind = webKind("https");
/** The same without TLS. */
export const httpKind: CacheKind = webKind("http");

function webKind(scheme: "http" | "https"): CacheKind {
  return {
    scheme,
    form: "http(s)://HOST/DIR",
    example: `${scheme}://cache.example.org/nix`,
    urlFault: httpUrlFault,
    textFault: httpTextFault,
    canonicalUrl: canonicalHttpUrl,
    guessUrl: () => undefined,
    folderOf: () => undefined,
    serverOf: (url) => parseHttpUrl(url).origin,
    needsTable: true,
    keys: new Set(["token-file", "token-env", "netrc-file", ...READER_KEYS, ...COMPANION_KEYS]),
    token: {
      variable: undefined,
      isNeeded: false,
      hint: "Set token-file or netrc-file in [caches.NAME] of the configuration, or add the server to the netrc that Nix reads.",
    },
    ...SIGNED_BY_US,
    client: { name: "netrc", isShared: true, path: netrcPath, parse: parseNetrc },
    isOwnHost: () => false,
    upstreams: [NIXOS_CACHE],
    readOnlyHint: "Check that the server takes PUT there, and who may write.",
    noPruneHint:
      "A web server gives no list of what it has: remove files where they are, or prune the folder behind it as file:///DIR.",
    open: ({ url, name, storeDir, keys, abortMs, ...options }) =>
      createLayoutCache({
        name,
        storeDir,
        keys,
        abortMs,
        objects: new HttpObjects({ ...options, base: parseHttpUrl(url) }),
        // All of them go into one request.
        parts: ANY_PARTS,
      }),
  };
}

/** @throws {HandpickError} `CONFIG_INVALID` if the text cannot be understood. */
function parseNetrc(text: string, { file, url, isNamed }: ClientFileOptions): ClientConfig {
  const { hostname } = parseHttpUrl(url);
  try {
    const login = findLogin(text, hostname);
    const lack = `file ${file} has no entry for ${hostname}`;
    const warnings = login === undefined && isNamed ? [lack] : [];
    return { token: undefined, login, signingKey: undefined, host: undefined, warnings };
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new HandpickError("CONFIG_INVALID", `Cannot read file ${file}: ${faultOf(cause)}`, {
      cause,
      hint: "Write it as curl reads it: machine HOST login USER password PASSWORD.",
    });
  }
}
