import type { Command, CommanderError } from "commander";

import { HandpickError } from "../error.ts";

/** A suggestion that commander writes after some messages, on a line of its own. */
const SUGGESTION = /\n\((Did you mean .*\?)\)$/;

/** --include takes all words up to the next option, and so the command if nothing ends them. */
const EXEC_HINT = "; -- ends the options, as in handpick exec -i 'my-*' -- nix-build";

/**
 * Puts what the parser says of a command line that it cannot read into the form of every other error.
 *
 * @param name The first word of the command line.
 */
export function usageError(
  { message }: CommanderError,
  { commands }: Command,
  name: string,
): HandpickError {
  const suggestion = SUGGESTION.exec(message)?.[1];
  const text = message.replace(/^error: /, "").replace(SUGGESTION, "");
  const hint = commands.some((command) => command.name() === name)
    ? `Run \`handpick ${name} --help\` for usage${name === "exec" ? EXEC_HINT : ""}.`
    : "Run `handpick --help` for usage; options come after the command, as in handpick status --json.";
  return new HandpickError("USAGE", text.charAt(0).toUpperCase() + text.slice(1), {
    hint: suggestion === undefined ? hint : `${suggestion} ${hint}`,
  });
}
