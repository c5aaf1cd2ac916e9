import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { TestEvent } from "node:test/reporters";

import { ROOT } from "./command.ts";

/**
 * A reporter that fails the run if no coverage was measured, so that its limits cannot be passed by,
 * or if it leaves sources out: Node counts only what was loaded.
 */
// oxlint-disable-next-line import/no-default-export -- how Node finds a reporter
export default async function* requireCoverage(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  let measured: ReadonlySet<string> | undefined;
  for await (const { type, data } of events) {
    if (type !== "test:coverage") continue;
    measured = new Set(data.summary.files.map(({ path }) => relative(ROOT, path)));
  }
  const left = measured === undefined ? [] : (await sources()).filter((one) => !measured.has(one));
  if (measured !== undefined && left.length === 0) return;
  process.exitCode = 1;
  yield measured === undefined
    ? "The coverage could not be measured; see the warning above\n"
    : `No test loads ${left.join(", ")}\n`;
}

/** A file of types alone is never loaded. */
const CODE = /^(?:export )?(?:async )?(?:function|class|const|let)\b/m;

async function sources(): Promise<string[]> {
  const names = await readdir(join(ROOT, "src"), { recursive: true });
  const files = names
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join("src", name));
  const texts = await Promise.all(files.map((file) => readFile(join(ROOT, file), "utf8")));
  return files.filter((_, at) => CODE.test(texts[at] ?? ""));
}
