import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";

import { HandpickError } from "../error.ts";
import { quote } from "../nix/format-error.ts";

export interface CommandOptions {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A command at work. */
export interface RunningCommand {
  /** Sends it a signal, if it is still there. */
  kill(signal: NodeJS.Signals): void;
  /** Its exit code, 128 and the signal's number if a signal ended it. */
  readonly ended: Promise<number>;
}

/**
 * Starts a command with our own input and output; what has no slash in its name is looked for on the
 * PATH. No shell is involved.
 *
 * @throws {HandpickError} `COMMAND_NOT_FOUND` or `COMMAND_UNUSABLE`.
 */
export async function startCommand(
  [program = "", ...args]: readonly string[],
  { cwd, env }: CommandOptions,
): Promise<RunningCommand> {
  let child: ChildProcess;
  try {
    // Inherited pipes stay blocking for the command: libuv resets in the child what Node changed.
    child = spawn(program, args, { cwd, env: withItsNode(env), stdio: "inherit" });
    // Before the first wait: a command may end at once.
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    await once(child, "spawn");
    child.on("error", () => undefined); // a signal that we may not send
    const ended = exited.then(() => exitCodeOf(child));
    return { ended, kill: (signal) => void child.kill(signal) };
  } catch (cause) {
    throw cannotRun(program, cause);
  }
}

/** Gives a command the `NODE_OPTIONS` that the start script kept from our own Node. */
function withItsNode(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { HANDPICK_NODE_OPTIONS: NODE_OPTIONS, ...others } = env;
  return NODE_OPTIONS === undefined ? others : { ...others, NODE_OPTIONS };
}

function exitCodeOf({ exitCode, signalCode }: ChildProcess): number {
  return signalCode === null ? (exitCode ?? 0) : 128 + constants.signals[signalCode];
}

function cannotRun(program: string, cause: unknown): HandpickError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  const isMissing = code === "ENOENT" || code === "ERR_INVALID_ARG_VALUE";
  const reason = isMissing ? "there is no such program" : `it cannot be started (${code})`;
  const hint = isMissing
    ? "Check the spelling and the PATH; a script also needs the interpreter of its first line."
    : "Check that it is a program and that you may execute it.";
  const errorCode = isMissing ? "COMMAND_NOT_FOUND" : "COMMAND_UNUSABLE";
  return new HandpickError(errorCode, `Cannot run ${quote(program)}: ${reason}`, { cause, hint });
}
