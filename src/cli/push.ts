import { jsonReport, plainReport, quietReport, terminalReport } from "../report/push-report.ts";
import type { PushReport } from "../report/push-report.ts";
import { assertWritable } from "../sync/open-caches.ts";
import { pushPlan } from "../sync/push-plan.ts";
import type { CommandSpec } from "./command.ts";
import { EXIT } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { PATH_OPTIONS, withPrepared } from "./prepare-run.ts";
import type { PathOptions } from "./prepare-run.ts";

/** `handpick push`: push now, wait, show progress. */
export function pushCommand(io: Io): CommandSpec<PathOptions> {
  return {
    usage: "push [path...]",
    summary: "Push packages and what they need to a cache, now",
    description:
      "Push packages and what they need to a cache, now.\n\n" +
      "A path is a store path, a link such as ./result, a .drv (its outputs), an\n" +
      "installable such as .#foo (built first), or a manifest.",
    options: PATH_OPTIONS,
    examples: [
      ["handpick push ./result", "push one build"],
      ["handpick push --to cachix://mycache .#foo", "build, then push to a cache"],
      ["nix path-info .#a .#b | handpick push --stdin", "push what another tool lists"],
    ],
    action: async (args, options) =>
      withPrepared({ args, options, io, inspect: assertWritable }, async (readied) => {
        const report = await chooseReport(io, options);
        const { onHole } = readied.config.rules;
        try {
          const { failed, held } = await pushPlan(readied.prepared, {
            store: readied.store,
            signal: io.signal,
            onHole,
            onEvent: (event) => report.show(event),
          });
          if (held > 0 && onHole === "fail") {
            io.stderr.write('handpick: paths are held and on-hole = "fail": nothing was pushed\n');
          }
          return failed + held > 0 ? EXIT.somePathsFailed : EXIT.done;
        } finally {
          report.end();
        }
      }),
  };
}

async function chooseReport(io: Io, { json, quiet }: PathOptions): Promise<PushReport> {
  if (json === true) return jsonReport(io);
  if (quiet === true) return quietReport(io);
  const isTerminal =
    io.stderr.isTTY === true && io.env["CI"] === undefined && io.env["TERM"] !== "dumb";
  return isTerminal ? await terminalReport(io) : plainReport(io);
}
