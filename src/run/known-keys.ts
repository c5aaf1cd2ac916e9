import type { KnownKeys } from "../cache/found-narinfos.ts";
import type { CacheConfig } from "../config/config.ts";
import type { Credentials } from "../config/credentials.ts";
import { parsePublicKey, type PublicKey, publicKeyOf } from "../nix/key.ts";

/** The key that every Nix trusts unless it is told otherwise. */
const NIX_KEY: PublicKey = parsePublicKey(
  "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
);

/** The keys by which the narinfos of a cache are judged: ours, those that its table names, and that of Nix. */
export function knownKeys(
  { publicKeys, sign }: Pick<CacheConfig, "publicKeys" | "sign">,
  { signingKey }: Pick<Credentials, "signingKey">,
): KnownKeys {
  const ours = signingKey === undefined ? [] : [publicKeyOf(signingKey)];
  return {
    publicKeys: [...ours, ...(publicKeys ?? []).map(parsePublicKey), NIX_KEY],
    areAll: publicKeys !== undefined,
    signs: signingKey !== undefined && sign !== "none",
    keepsOthers: sign !== "own",
  };
}
