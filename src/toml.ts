import { parse, TomlError } from "smol-toml";

import { HandpickError } from "./error.ts";

/**
 * Reads TOML that may have been written by anybody.
 *
 * @param options.about The file as it follows "Cannot read" in a message; line and column come after it.
 * @throws {HandpickError} `CONFIG_INVALID` if it is none.
 */
export function parseToml(
  text: string,
  { about, hint }: { readonly about: string; readonly hint: string },
): unknown {
  try {
    return parse(text, { unsafeKeyBehaviour: "throw", maxDepth: 16 });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Neither the rest of the message nor the cause: both quote the lines, maybe with a token.
    const reason = (error.message.split("\n")[0] ?? "").replace("Invalid TOML document: ", "");
    const message = `Cannot read ${about}:${error.line}:${error.column}: ${reason}`;
    throw new HandpickError("CONFIG_INVALID", message, { hint });
  }
}
