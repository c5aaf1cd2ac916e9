import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";

import { ROOT } from "./command.ts";

/** Tests of modules and hooks, which must run where `HANDPICK_TEST_REQUIRE` is set. */
const REQUIRED = /^test\/(?:modules|hook)\//;

/**
 * A reporter that names every skipped test with its reason. Node does not count a skipped
 * `describe()` in its summary. With `HANDPICK_TEST_REQUIRE`, a skipped test of a module or a hook
 * fails the run.
 */
// oxlint-disable-next-line import/no-default-export -- how Node finds a reporter
export default async function* skippedTests(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  const skipped: string[] = [];
  const failed: string[] = [];
  for await (const { type, data } of events) {
    if (type !== "test:pass" || data.skip === undefined || data.skip === false) continue;
    const file = relative(ROOT, data.file ?? "");
    const reason = typeof data.skip === "string" ? data.skip : "no reason";
    const isFailure = REQUIRED.test(file) && process.env["HANDPICK_TEST_REQUIRE"] !== undefined;
    (isFailure ? failed : skipped).push(`  ${file}: ${data.name}: ${reason}\n`);
  }
  if (skipped.length > 0) yield `${skipped.length} skipped:\n${skipped.join("")}`;
  if (failed.length === 0) return;
  process.exitCode = 1;
  yield `${failed.length} skipped that must run here:\n${failed.join("")}`;
}
