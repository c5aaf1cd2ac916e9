#!/usr/bin/env node
import { run } from "./cli/run.ts";

const interrupted = new AbortController();

/** Cancelled work gets this long to tell the cache; the promise is two seconds in all. */
const GRACE_MS = 1_700;
const INTERRUPTED = 130;

function interrupt(): void {
  if (interrupted.signal.aborted) process.exit(INTERRUPTED);
  interrupted.abort(new DOMException("Interrupted", "AbortError"));
  setTimeout(() => process.exit(INTERRUPTED), GRACE_MS).unref();
}
process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);
process.on("SIGHUP", interrupt);

// A reader that went away (`handpick plan | head`) is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});
process.stderr.on("error", () => undefined);

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  uid: process.getuid?.() ?? 0,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupted.signal,
});
