import type { PushReport } from "../report/push-report.ts";
import { assertWritable } from "../run/open-caches.ts";
import { pushPlan, type RunEvent } from "../run/push-plan.ts";
import { chooseReport } from "./choose-report.ts";
import type { CommandSpec } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { ToldError } from "./json-error.ts";
import { printError } from "./print-error.ts";
import { PATH_OPTIONS, type PathOptions, type Readied, withPrepared } from "./prepare-run.ts";

/** `handpick push`: push now, wait, show progress. */
export function pushCommand(io: Io): CommandSpec<PathOptions> {
  return {
    usage: "push [path...]",
    summary: "Push packages and what they need to a cache, now",
    description:
      "Push packages and what they need to a cache, now.\n\n" +
      "A path is a store path, a link such as ./result, a .drv (its outputs), an\n" +
      "installable such as .#foo (built first), or a manifest; - reads more from\n" +
      "stdin. One that cannot be selected is told, and the rest is pushed.",
    options: PATH_OPTIONS,
    examples: [
      ["handpick push ./result", "push one build"],
      ["handpick push --to cachix://mycache .#foo", "build, then push to a cache"],
      ["nix path-info .#a .#b | handpick push --stdin", "push what another tool lists"],
      ["handpick push --wanted", "push all that is wanted, and wait"],
    ],
    action: async (args, options) => {
      const report = await chooseReport(io, options);
      const note = (text: string): void => report.show({ event: "note", text });
      let isDecided = false;
      try {
        return await withPrepared(
          { args, options, io, note, inspect: assertWritable, mayBeLate: true },
          (readied) => {
            isDecided = true;
            return push(readied, report, { io, isJson: options.json === true });
          },
        );
      } catch (error) {
        throw isDecided ? new ToldError(error) : error;
      } finally {
        report.end();
      }
    },
  };
}

async function push(
  { prepared, store, config }: Readied,
  report: PushReport,
  { io, isJson }: { readonly io: Io; readonly isJson: boolean },
): Promise<number> {
  const { signal } = io;
  const { onHole } = config.rules;
  const onEvent = (event: RunEvent): void => report.show(event);
  const options = { store, signal, onHole, onEvent };
  const { summary, failures, troubled } = await pushPlan(prepared, options);
  if (summary.held > 0 && onHole === "fail") {
    const text = 'Nothing was pushed: paths are held, and on-hole = "fail"';
    report.show({ event: "note", text });
  }
  // Events are for programs; people see in a log why it ended like that.
  if (isJson) for (const failure of failures) printError(failure, io);
  return exitCodeAfter(failures, troubled);
}
