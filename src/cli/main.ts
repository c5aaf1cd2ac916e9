import { EXIT, HandpickError } from "../error.ts";
import { exitCodeOf } from "./exit-code.ts";
import { printError } from "./print-error.ts";
import { run } from "./run.ts";

/** Cancelled work gets this long to tell the cache; the promise is two seconds in all. */
const GRACE_MS = 1_700;

/** Runs the program for this process: its arguments, streams and signals. */
export async function main(): Promise<void> {
  // A diagnostic report is made to be handed on; the environment holds tokens.
  if (process.report !== undefined) process.report.excludeEnv = true;
  const interrupted = new AbortController();
  let handler: SignalHandler | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    if (handler?.(signal) === true) return;
    if (interrupted.signal.aborted) process.exit(EXIT.interrupted);
    interrupted.abort(new DOMException("Interrupted", "AbortError"));
    setTimeout(() => {
      process.stderr.write("\nhandpick: interrupted\n");
      process.exit(EXIT.interrupted);
    }, GRACE_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
  // Node would let a debugger in, to a process that holds tokens.
  process.on("SIGUSR1", () => undefined);

  const cwd = workingDirectory();
  if (cwd === undefined) return;
  process.exitCode = await run(process.argv.slice(2), {
    env: process.env,
    cwd,
    uid: process.getuid?.() ?? 0,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupted.signal,
    intercept: (next) => {
      handler = next;
      return { [Symbol.dispose]: () => (handler = undefined) };
    },
  });
  // Reading a pipe that nobody writes cannot be given up, and would keep the process.
  if (interrupted.signal.aborted) process.exit();
}

type SignalHandler = (signal: NodeJS.Signals) => boolean;

/** Undefined, and told, if the folder was removed under us: names would start from nowhere. */
function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch (cause) {
    const message = "Cannot use the working directory: it does not exist any more";
    const hint = "Change to a folder that exists, such as your home, and run this again.";
    const error = new HandpickError("FILE_UNUSABLE", message, { cause, hint });
    printError(error, process);
    process.exitCode = exitCodeOf(error);
    return undefined;
  }
}
