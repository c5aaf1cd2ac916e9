import { HandpickError } from "../error.ts";
import { faultOf, FormatError } from "../nix/format-error.ts";
import { parseSecretKey, type SecretKey } from "../nix/key.ts";
import type { Found, Search } from "./credential-sources.ts";

/**
 * Parses the signing key of a cache, whose kind may have a name for a key that has none.
 *
 * @throws {HandpickError} `KEY_INVALID` if it is no key, or has no name, without repeating it.
 */
export function parseSigningKey(
  { text, source }: Found,
  { cache, kind }: Pick<Search, "cache" | "kind">,
): SecretKey {
  try {
    const key = parseSecretKey(text, kind?.key?.defaultName(cache.url));
    if (key.name !== undefined) return key;
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const message = `Cannot use the signing key from ${source}: ${faultOf(cause)}`;
    throw new HandpickError("KEY_INVALID", message, {
      cause,
      hint: "Give it as name:base64 or as base64 alone, 64 bytes, as handpick keygen writes it.",
    });
  }
  throw new HandpickError(
    "KEY_INVALID",
    `Cannot use the signing key from ${source}: it has no name`,
    {
      hint: "Readers find the key by its name: write NAME: before it, as handpick keygen does.",
    },
  );
}
