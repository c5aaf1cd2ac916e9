import { fstatSync } from "node:fs";

import { HandpickError } from "../error.ts";
import { parseStdin } from "../select/select.ts";
import type { Io } from "./io.ts";

export interface InputOptions {
  readonly stdin?: boolean;
  readonly wanted?: boolean;
}

const MAX_STDIN_BYTES = 64 << 20;

/**
 * Returns what a command line selects: the words on it and on stdin, or "wanted" for the selections in
 * the state folder. That has to be said: `push $(nix-build)` has no words when the build fails.
 *
 * @throws {HandpickError} `USAGE` if nothing is named, nothing comes on stdin, or both words and
 *   `--wanted` are given.
 */
export async function readInputs(
  args: readonly string[],
  { stdin, wanted }: InputOptions,
  io: Io,
): Promise<readonly string[] | "wanted"> {
  const isPiped = stdin === true || args.includes("-");
  if (wanted === true) {
    if (args.length === 0 && !isPiped) return "wanted";
    throw new HandpickError("USAGE", "Cannot take paths and --wanted together", {
      hint: "Leave out --wanted to select the paths alone.",
    });
  }
  if (args.length === 0 && !isPiped) throw nothingNamed(io);
  const words = args.filter((word) => word !== "-");
  if (!isPiped) return words;
  const more = await readWords(io);
  if (more.length > 0) return [...words, ...more];
  throw new HandpickError("USAGE", "Cannot select anything from stdin: it is empty", {
    hint: "Check that the command before the pipe succeeds and prints store paths.",
  });
}

function nothingNamed({ stdin }: Io): HandpickError {
  const message =
    "Cannot select anything: expected a path, an installable or a manifest, found none";
  const hint = isPipe(stdin)
    ? "To read the paths from the pipe, add --stdin: nix path-info .#a | handpick push --stdin."
    : "Name one, such as ./result or .#package; --wanted takes all that is wanted on this machine.";
  return new HandpickError("USAGE", message, { hint });
}

/** Returns true if another program writes to our stdin. */
function isPipe({ fd }: Io["stdin"]): boolean {
  try {
    return fd !== undefined && fstatSync(fd).isFIFO();
  } catch {
    return false; // closed
  }
}

async function readWords({ stdin }: Io): Promise<string[]> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_STDIN_BYTES) throw new HandpickError("USAGE", "Stdin holds more than 64 MiB");
    chunks.push(bytes);
  }
  return parseStdin(Buffer.concat(chunks).toString());
}
