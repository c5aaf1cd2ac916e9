#!/usr/bin/env node
import { watchOutput } from "./cli/output-errors.ts";
import { VERSION } from "./version.ts";

/** The oldest Node whose `node:sqlite` and zstd this program relies on. */
const [NEEDED_MAJOR, NEEDED_MINOR] = [24, 15] as const;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major > NEEDED_MAJOR || (major === NEEDED_MAJOR && minor >= NEEDED_MINOR)) {
  watchOutput();
  const [first = "", ...rest] = process.argv.slice(2);
  if (["--version", "-V", "-v", "version"].includes(first) && rest.length === 0) {
    // Scripts ask often, and everything else takes longer to load.
    process.stdout.write(`${VERSION}\n`);
  } else {
    const { main } = await import("./cli/main.ts");
    await main();
  }
} else {
  process.stderr.write(
    `handpick needs Node ${NEEDED_MAJOR}.${NEEDED_MINOR} or newer, this is ${process.versions.node}\n`,
  );
  process.exitCode = 2;
}
