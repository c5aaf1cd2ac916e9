import { run } from "./run.ts";

/** Cancelled work gets this long to tell the cache; the promise is two seconds in all. */
const GRACE_MS = 1_700;
const INTERRUPTED = 130;

/** Runs the program for this process: its arguments, streams and signals. */
export async function main(): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = (): void => {
    if (interrupted.signal.aborted) process.exit(INTERRUPTED);
    interrupted.abort(new DOMException("Interrupted", "AbortError"));
    setTimeout(() => process.exit(INTERRUPTED), GRACE_MS).unref();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);

  // A reader that went away (`handpick plan | head`) is no error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
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
