import { idleExcludes } from "../plan/idle-excludes.ts";
import { toFailure } from "../error.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { planLines } from "../report/plan-lines.ts";
import { pushLines } from "../report/push-lines.ts";
import { reasonWithText } from "../report/reason-text.ts";
import type { Prepared } from "../run/prepare.ts";
import type { CommandSpec } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { printError } from "./print-error.ts";
import { PATH_OPTIONS, type PathOptions, quietly, withPrepared } from "./prepare-run.ts";

interface PlanOptions extends PathOptions {
  readonly full?: boolean;
}

/** `handpick plan`: decide only. */
export function planCommand(io: Io): CommandSpec<PlanOptions> {
  return {
    usage: "plan [path...]",
    summary: "Show what push would do and why; send nothing",
    description:
      "Show what push would do and why; send nothing but the question which paths\n" +
      "the cache lacks. What readers have already is counted only. Exit code 1 if a\n" +
      "path is held or cannot be selected.",
    options: [
      ["--full", "Also list what is there already and what upstreams have (default: count it)"],
      ...PATH_OPTIONS,
    ],
    examples: [
      ["handpick plan ./result", "what would be pushed, and why"],
      ["handpick plan --json ./result | jq .totals", "the same for programs"],
    ],
    action: async (args, options) =>
      withPrepared({ args, options, io }, async ({ prepared, config }) => {
        const { plan, picks, failures, rejected } = prepared;
        for (const failure of failures) printError(failure, io);
        const note = quietly(options, io);
        if (plan.paths.length > 0) for (const text of idleExcludes(picks, config.rules)) note(text);
        if (options.json === true) printJson(prepared, io);
        else print(prepared, options, io);
        return exitCodeAfter(failures, plan.totals.held.paths + rejected.length);
      }),
  };
}

function print({ plan, rejected }: Prepared, { full }: PlanOptions, { stdout, stderr }: Io): void {
  const paint = painter(stdout);
  for (const line of planLines(plan, { paint, isFull: full === true })) writeText(stdout, line);
  const paintError = painter(stderr);
  for (const { input, error } of rejected) {
    const event = { event: "rejected", input, error: toFailure(error) } as const;
    for (const line of pushLines(event, paintError)) writeText(stderr, line);
  }
}

function printJson({ plan, rejected }: Prepared, { stdout }: Io): void {
  const told = rejected.map(({ input, error }) => ({ input, error: toFailure(error) }));
  const paths = plan.paths.map((decision) => ({
    ...decision,
    reason: reasonWithText(decision.reason),
    picks: decision.picks.map(({ name }) => name),
    wantedBy: decision.picks,
  }));
  stdout.write(
    `${JSON.stringify({ ...plan, paths, ...(told.length > 0 ? { rejected: told } : {}) })}\n`,
  );
}
