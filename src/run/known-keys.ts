import type { KnownKeys } from "../cache/found-narinfos.ts";
import type { CacheConfig } from "../config/config.ts";
import type { Credentials } from "../config/credentials.ts";
import { parsePublicKey, publicKeyOf } from "../nix/key.ts";
import { NIXOS_KEY } from "../nix/nixos-cache.ts";

/** The keys by which the narinfos of a cache are judged: ours, those that its table names, and that of cache.nixos.org. */
export function knownKeys(
  { publicKeys, sign }: Pick<CacheConfig, "publicKeys" | "sign">,
  { signingKeys }: Pick<Credentials, "signingKeys">,
): KnownKeys {
  const ours = signingKeys.map(publicKeyOf);
  return {
    publicKeys: [...ours, ...[...(publicKeys ?? []), NIXOS_KEY].map(parsePublicKey)],
    areAll: publicKeys !== undefined,
    signs: signingKeys.length > 0 && sign !== "none",
    keepsOthers: sign !== "own",
  };
}
