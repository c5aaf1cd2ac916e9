import { NIXOS_CACHE } from "../../nix/nixos-cache.ts";
import type { CacheKind } from "../kind.ts";
import { createCachixCache } from "./cachix-cache.ts";
import { cachixName, guessCachixUrl, isCachixOwn, parseCachixUrl } from "./cachix-url.ts";
import { cachixDhallPath, parseCachixDhall } from "./dhall.ts";

/** Caches at Cachix, and at servers with its protocol. */
export const cachixKind: CacheKind = {
  scheme: "cachix",
  form: "cachix://NAME",
  example: "cachix://mycache",
  urlFault: (url) =>
    cachixName(url) === undefined
      ? "must be cachix://NAME, NAME being letters, digits, dots, dashes and underscores"
      : undefined,
  textFault: () => undefined,
  canonicalUrl: (url) => `cachix://${parseCachixUrl(url)}`,
  guessUrl: guessCachixUrl,
  folderOf: () => undefined,
  // Another server than that of Cachix is named by its own key, `host`.
  serverOf: () => undefined,
  needsTable: false,
  keys: new Set(["host", "token-file", "token-env", "dhall-file"]),
  token: {
    variable: "CACHIX_AUTH_TOKEN",
    isNeeded: true,
    hint: "Set token-file in the configuration, or CACHIX_AUTH_TOKEN in the environment. Tokens are made at https://app.cachix.org.",
  },
  key: {
    variable: "CACHIX_SIGNING_KEY",
    // Cachix's own spelling of keys has no names.
    defaultName: (url) => `${parseCachixUrl(url)}.cachix.org-1`,
  },
  client: {
    name: "cachix.dhall",
    isShared: false,
    path: cachixDhallPath,
    parse: (text, { file, env, url }) => {
      const { authToken, hostname, binaryCaches, warnings } = parseCachixDhall(text, { file, env });
      const listed = binaryCaches.findLast(({ name }) => name === cachixName(url));
      return { token: authToken, signingKey: listed?.secretKey, host: hostname, warnings };
    },
  },
  isOwnHost: isCachixOwn,
  // The service itself leaves out what its own upstreams have.
  upstreams: [],
  ownUpstreams: [NIXOS_CACHE],
  readOnlyHint: "Make a token with write access to this cache.",
  noPruneHint:
    "Cachix has a garbage collection of its own: what nobody reads goes first, and handpick pin keeps a path.",
  noKeysHint: undefined,
  open: ({ url, ...options }) => createCachixCache({ ...options, cacheName: parseCachixUrl(url) }),
};
