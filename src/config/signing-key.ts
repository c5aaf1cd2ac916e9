import { HandpickError } from "../error.ts";
import { faultOf, FormatError } from "../nix/format-error.ts";
import { parseSecretKey, type SecretKey } from "../nix/key.ts";
import type { Found, Search } from "./credential-sources.ts";

const MOST_KEYS = 16;

/**
 * Parses the signing keys of a cache, one a line. Its kind may have a name for a key that has none.
 *
 * @throws {HandpickError} `KEY_INVALID` if one is no key, has no name, or that of another one, without repeating it.
 */
export function parseSigningKeys(
  { text, source }: Found,
  { cache, kind }: Pick<Search, "cache" | "kind">,
): readonly SecretKey[] {
  const refuse = (reason: string, hint: string, cause?: unknown): HandpickError => {
    const message = `Cannot use the signing key from ${source}: ${reason}`;
    return new HandpickError("KEY_INVALID", message, { cause, hint });
  };
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length > MOST_KEYS) {
    throw refuse(`it has more than ${MOST_KEYS} lines`, "Give one key a line.");
  }
  const keys = new Map<string, SecretKey>();
  for (const line of lines) {
    const key = parseKey(line, kind?.key?.defaultName(cache.url), refuse);
    if (key.name === undefined) {
      throw refuse(
        "it has no name",
        "Readers find the key by its name: write NAME: before it, as handpick keygen does.",
      );
    }
    if (keys.has(key.name)) {
      throw refuse(
        `two of its keys are named ${key.name}`,
        "Readers find a key by its name, so each needs its own.",
      );
    }
    keys.set(key.name, key);
  }
  return [...keys.values()];
}

function parseKey(
  line: string,
  defaultName: string | undefined,
  refuse: (reason: string, hint: string, cause: unknown) => HandpickError,
): SecretKey {
  try {
    return parseSecretKey(line, defaultName);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const hint =
      "Give it as name:base64 or as base64 alone, 64 bytes, as handpick keygen writes it; several one a line.";
    throw refuse(faultOf(cause), hint, cause);
  }
}
