import { EXIT } from "./exit-code.ts";
import { run } from "./run.ts";

/** Cancelled work gets this long to tell the cache; the promise is two seconds in all. */
const GRACE_MS = 1_700;

/** Runs the program for this process: its arguments, streams and signals. */
export async function main(): Promise<void> {
  // A diagnostic report is made to be handed on; the environment holds tokens.
  if (process.report !== undefined) process.report.excludeEnv = true;
  const interrupted = new AbortController();
  const interrupt = (): void => {
    if (interrupted.signal.aborted) process.exit(EXIT.interrupted);
    interrupted.abort(new DOMException("Interrupted", "AbortError"));
    setTimeout(() => {
      process.stderr.write("\nhandpick: interrupted\n");
      process.exit(EXIT.interrupted);
    }, GRACE_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);

  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // A reader that went away (`handpick push --json | head -1`) changes nothing of what is done.
    if (error.code === "EPIPE") return;
    process.stderr.write(`handpick: Cannot write to stdout: ${error.code ?? error.message}\n`);
    process.exit(EXIT.somePathsFailed);
  });
  process.stderr.on("error", () => undefined); // nobody is left to be told

  process.exitCode = await run(process.argv.slice(2), {
    env: process.env,
    cwd: process.cwd(),
    uid: process.getuid?.() ?? 0,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: interrupted.signal,
  });
}
