import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { bundle } from "./build.ts";
import { command } from "./command.ts";

/** Coverage that the sources must reach, in percent. */
const LINES = 95;
const BRANCHES = 90;

const chosen = process.argv.slice(2);
const gate = [
  "--experimental-test-coverage",
  `--test-coverage-lines=${LINES}`,
  `--test-coverage-branches=${BRANCHES}`,
  "--test-coverage-include=src/**/*.ts",
  "--test-coverage-exclude=**/*.test.ts",
  // Node only warns where it cannot tell the coverage.
  "--test-reporter=./scripts/require-coverage.ts",
  "--test-reporter-destination=stderr",
  "--test-reporter=./scripts/skipped-tests.ts",
  "--test-reporter-destination=stderr",
];

// The end-to-end tests run the program as users get it, but for most of them where coverage is
// measured: then the sources run, so that it counts what children do.
await bundle();

// The sources are compiled once, and not again by each of a thousand processes.
const cache = await mkdtemp(join(tmpdir(), "handpick-compiled-"));
process.env["NODE_COMPILE_CACHE"] = cache;
try {
  process.exitCode = await command(process.execPath, [
    "--test",
    "--test-concurrency=2",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    ...(chosen.length > 0 ? chosen : [...gate, "src/**/*.test.ts", "test/**/*.test.ts"]),
  ]);
} finally {
  await rm(cache, { recursive: true, force: true });
}
