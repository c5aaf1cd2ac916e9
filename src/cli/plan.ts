import { idleExcludes } from "../plan/idle-excludes.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { planLines } from "../report/plan-lines.ts";
import { reasonWithText } from "../plan/reason-text.ts";
import type { Plan } from "../plan/plan.ts";
import type { Gathered } from "../run/gather.ts";
import { planAll } from "../run/push-all.ts";
import { defineCommand, type NamedCommand } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { printError } from "./print-error.ts";
import { PATH_OPTIONS, type PathOptions, quietly, withGathered } from "./prepare-run.ts";
import { errorsMember, printRejected, rejectedMember } from "./told-beside.ts";

interface PlanOptions extends PathOptions {
  readonly full?: boolean;
}

/** `handpick plan`: decide only. */
export function planCommand(io: Io): NamedCommand {
  return defineCommand<PlanOptions>({
    usage: "plan [path...]",
    summary: "Show what push would do and why; send nothing",
    description:
      "Show what push would do and why; send nothing but the question which paths\n" +
      "the cache lacks. Paths that readers have are only counted, and so are all but\n" +
      "the ten largest that would be pushed. Exit code 1 if a path is held or cannot\n" +
      "be selected.",
    options: [
      ["--full", "List every path, in the order of a push (default: count most of them)"],
      ...PATH_OPTIONS,
    ],
    examples: [
      ["handpick plan ./result", "what would be pushed, and why"],
      ["handpick plan --json ./result | jq .totals", "the same for programs"],
    ],
    action: async (args, options) =>
      withGathered({ args, options, io }, async ({ gathered, options: run, config }) => {
        const { planned, rejected } = gathered;
        const { plan, failures } = await planAll(gathered, run);
        for (const failure of failures) printError(failure, io);
        const note = quietly(options, io);
        if (plan.paths.length > 0)
          for (const text of idleExcludes(planned, config.rules)) note(text);
        if (options.json === true) printJson({ plan, rejected, failures }, io);
        else print({ plan, rejected }, options, io);
        return exitCodeAfter(failures, plan.totals.held.paths + rejected.length);
      }),
  });
}

interface Planned extends Pick<Gathered, "rejected"> {
  readonly plan: Plan;
}

interface PlannedBeside extends Planned {
  /** Errors of caches that gave no answer: `plan` says nothing of them. */
  readonly failures: readonly unknown[];
}

function print({ plan, rejected }: Planned, { full }: PlanOptions, io: Io): void {
  const { stdout } = io;
  const paint = painter(stdout);
  for (const line of planLines(plan, { paint, isFull: full === true })) writeText(stdout, line);
  printRejected(rejected, io);
}

function printJson({ plan, rejected, failures }: PlannedBeside, { stdout }: Io): void {
  const paths = plan.paths.map((decision) => ({
    ...decision,
    reason: reasonWithText(decision.reason),
    picks: decision.picks.map(({ name }) => name),
    wantedBy: decision.picks,
  }));
  const wrong = { ...rejectedMember(rejected), ...errorsMember(failures) };
  stdout.write(`${JSON.stringify({ ...plan, paths, ...wrong })}\n`);
}
