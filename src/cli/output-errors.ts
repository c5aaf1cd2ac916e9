import { EXIT } from "../error.ts";

/** Makes a failure of stdout end the program with one line, and not as an unhandled event. */
export function watchOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // A reader that went away (`handpick push --json | head -1`) changes nothing of what is done.
    if (error.code === "EPIPE") return;
    process.stderr.write(`handpick: Cannot write to stdout: ${error.code ?? error.message}\n`);
    process.exit(EXIT.somePathsFailed);
  });
  process.stderr.on("error", () => undefined); // nobody is left to be told
}
