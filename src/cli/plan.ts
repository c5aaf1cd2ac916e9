import { idleExcludes } from "../plan/idle-excludes.ts";
import { planLines } from "../report/plan-lines.ts";
import type { CommandSpec } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { printError } from "./print-error.ts";
import { PATH_OPTIONS, quietly, withPrepared } from "./prepare-run.ts";
import type { PathOptions } from "./prepare-run.ts";

/** `handpick plan`: decide only. */
export function planCommand(io: Io): CommandSpec<PathOptions> {
  return {
    usage: "plan [path...]",
    summary: "Show what push would do and why; send nothing",
    description:
      "Show what push would do and why; send nothing but the question which paths\n" +
      "the cache lacks. Without a path it is about all that is wanted. Exit code 1\n" +
      "if a path is held.",
    options: PATH_OPTIONS,
    examples: [
      ["handpick plan ./result", "what would be pushed, and why"],
      ["handpick plan --json ./result | jq .totals", "the same for programs"],
    ],
    action: async (args, options) =>
      withPrepared({ args, options, io }, async ({ prepared, config }) => {
        const { plan, picks, failures } = prepared;
        for (const failure of failures) printError(failure, io);
        const note = quietly(options, io);
        if (plan.paths.length > 0) for (const text of idleExcludes(picks, config.rules)) note(text);
        if (options.json === true) io.stdout.write(`${JSON.stringify(plan)}\n`);
        else for (const line of planLines(plan)) io.stdout.write(`${line}\n`);
        return exitCodeAfter(failures, plan.totals.held.paths);
      }),
  };
}
