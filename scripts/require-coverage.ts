import type { TestEvent } from "node:test/reporters";

/** A reporter that fails the run if no coverage was measured, so that its limits cannot be passed by. */
// oxlint-disable-next-line import/no-default-export -- how Node finds a reporter
export default async function* requireCoverage(
  events: AsyncIterable<TestEvent>,
): AsyncGenerator<string> {
  let isMeasured = false;
  for await (const { type } of events) if (type === "test:coverage") isMeasured = true;
  if (isMeasured) return;
  process.exitCode = 1;
  yield "The coverage could not be measured; see the warning above\n";
}
