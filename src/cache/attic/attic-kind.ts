import { NIXOS_CACHE } from "../../nix/nixos-cache.ts";
import type { CacheKind } from "../kind.ts";
import { FORBIDDEN_HINT } from "./attic-api.ts";
import { createAtticCache } from "./attic-cache.ts";
import { atticConfigPath, parseAtticConfig } from "./attic-config.ts";
import { atticUrl, atticUrlFault, guessAtticUrl, parseAtticUrl } from "./attic-url.ts";

/** Caches at Attic servers, which anybody may run. */
export const atticKind: CacheKind = {
  scheme: "attic",
  form: "attic://SERVER/CACHE",
  example: "attic://cache.example.org/mycache",
  urlFault: atticUrlFault,
  textFault: () => undefined,
  canonicalUrl: (url) => atticUrl(parseAtticUrl(url)),
  guessUrl: guessAtticUrl,
  folderOf: () => undefined,
  serverOf: (url) => parseAtticUrl(url).server,
  needsTable: true,
  keys: new Set(["host", "token-file", "token-env"]),
  token: {
    variable: "ATTIC_TOKEN",
    isNeeded: true,
    hint: "Set token-file in the configuration, or ATTIC_TOKEN in the environment, or log in with attic login. The operator of the server makes tokens.",
  },
  key: undefined,
  client: {
    name: "attic.toml",
    isShared: false,
    path: atticConfigPath,
    parse: parseAtticConfig,
  },
  isOwnHost: () => false,
  upstreams: [NIXOS_CACHE],
  readOnlyHint: FORBIDDEN_HINT,
  noPruneHint:
    "Attic has a garbage collection of its own: set retention-period with attic cache configure.",
  noKeysHint: "The server signs with the key of the cache, which handpick doctor shows.",
  open: ({ url, ...options }) => createAtticCache({ ...options, ...parseAtticUrl(url) }),
};
