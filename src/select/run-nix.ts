import { spawn } from "node:child_process";
import { HandpickError } from "../error.ts";
import { quoteUrl } from "../nix/format-error.ts";

const MAX_OUTPUT = 1024 * 1024;

export interface RunNixOptions {
  /** The text that the user typed, for messages. */
  readonly installable: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/**
 * Runs a program of Nix, whose messages go to our stderr, and returns what it prints.
 *
 * @throws {HandpickError} `INSTALLABLE_FAILED` if it is missing or fails.
 * @throws The reason of `signal`, once Nix has ended, if it is aborted.
 */
export async function runNix(
  [program = "nix", ...args]: readonly string[],
  { installable, cwd, env, signal }: RunNixOptions,
): Promise<string> {
  const child = spawn(program, args, { cwd, env, signal, stdio: ["ignore", "pipe", "inherit"] });
  let failure: NodeJS.ErrnoException | undefined;
  child.on("error", (error) => (failure = error));
  const closed = new Promise<string>((resolve) => {
    child.on("close", (status, killer) => resolve(String(killer ?? status)));
  });
  let output = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) {
    output += String(chunk);
    if (output.length <= MAX_OUTPUT) continue;
    child.kill();
    break;
  }
  const status = await closed;
  signal.throwIfAborted();
  if (failure?.code === "ENOENT") throw notOnPath(program, installable, failure);
  if (failure !== undefined) {
    throw buildFailed(installable, `${program} does not start: ${failure.message}`, failure);
  }
  const command = [program, ...args.slice(0, 1)].join(" ");
  if (status !== "0") throw buildFailed(installable, `${command} ended with ${status}`);
  return output;
}

/** Returns the error for an installable that Nix does not build. */
export function buildFailed(installable: string, reason: string, cause?: unknown): HandpickError {
  const message = `Cannot build ${quoteUrl(installable)}: ${reason}`;
  return new HandpickError("INSTALLABLE_FAILED", message, {
    cause,
    hint: "See the messages of nix above; nix build has to succeed with the same argument.",
  });
}

function notOnPath(program: string, installable: string, cause: unknown): HandpickError {
  const message = `Cannot build ${quoteUrl(installable)}: ${program} is not on PATH`;
  return new HandpickError("INSTALLABLE_FAILED", message, {
    cause,
    hint: "Install Nix, or add its folder to PATH, such as /nix/var/nix/profiles/default/bin.",
  });
}
