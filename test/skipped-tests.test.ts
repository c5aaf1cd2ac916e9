import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { ROOT } from "./markdown.ts";
import { tempDir } from "./temp.ts";

const SKIPPING = `
import { describe, it } from "node:test";
describe("the module", { skip: "no sources" }, () => { it("never runs", () => {}); });
it("traces", { skip: "no strace" }, () => {});
it("works", () => {});
`;
const LIST = "the module: no sources\n  FILE: traces: no strace\n";

/** Runs a test file that skips, with the reporter in a project of its own. */
async function report(
  file: string,
  env: Readonly<Record<string, string>>,
): Promise<[number, string]> {
  await using temp = await tempDir();
  for (const name of ["scripts/command.ts", "scripts/skipped-tests.ts"]) {
    await cp(join(ROOT, name), join(temp.dir, name));
  }
  await mkdir(dirname(join(temp.dir, file)), { recursive: true });
  await writeFile(join(temp.dir, "package.json"), '{ "type": "module" }');
  await writeFile(join(temp.dir, file), SKIPPING);
  const args = ["--test", "--test-reporter=./scripts/skipped-tests.ts", file];
  const child = spawnSync(process.execPath, args, { cwd: temp.dir, env, encoding: "utf8" });
  return [child.status ?? -1, child.stdout.replaceAll(file, "FILE")];
}

describe("skippedTests()", () => {
  it("names skipped suites and tests with their reasons", async () => {
    const [status, printed] = await report("test/modules/a.test.ts", {});
    assert.deepEqual([status, printed], [0, `2 skipped:\n  FILE: ${LIST}`]);
  });

  it("fails the run where tests of modules and hooks are required", async () => {
    for (const room of ["modules", "hook"]) {
      const env = { HANDPICK_TEST_REQUIRE: "1" };
      const [status, printed] = await report(`test/${room}/a.test.ts`, env);
      assert.deepEqual([status, printed], [1, `2 skipped that must run here:\n  FILE: ${LIST}`]);
    }
  });

  it("lets others skip all the same", async () => {
    const [status] = await report("test/a.test.ts", { HANDPICK_TEST_REQUIRE: "1" });
    assert.equal(status, 0);
  });
});
