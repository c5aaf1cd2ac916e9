import type { CacheInfo } from "../cache/contract.ts";
import { printPublicKey, publicKeyOf } from "../nix/key.ts";
import type { OpenedCache } from "./open-caches.ts";
import { signOptions } from "./signatures.ts";

/** The keys by which readers trust a cache, `name:base64` each: those that it or its table names, else ours. */
export function readerKeys(opened: OpenedCache, { publicKeys }: CacheInfo): readonly string[] {
  const { sign, signingKeys } = signOptions(opened);
  if (publicKeys !== undefined) return publicKeys;
  return sign === "none" ? [] : signingKeys.map((key) => printPublicKey(publicKeyOf(key)));
}
