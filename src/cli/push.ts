import type { RunEvent } from "../run/events.ts";
import { pushAll } from "../run/push-all.ts";
import { chooseReport } from "./choose-report.ts";
import { defineCommand, type NamedCommand } from "./command.ts";
import { exitCodeAfter } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { ToldError } from "./json-error.ts";
import { printError } from "./print-error.ts";
import { PATH_OPTIONS, type PathOptions, type GatheredRun, withGathered } from "./prepare-run.ts";

/** `handpick push`: push now, wait, show progress. */
export function pushCommand(io: Io): NamedCommand {
  return defineCommand<PathOptions>({
    usage: "push [path...]",
    summary: "Push packages and what they need to a cache, now",
    description:
      "Push packages and what they need to a cache, now.\n\n" +
      "A path is a store path, a link such as ./result, a .drv (its outputs), an\n" +
      "installable such as .#foo (built first), or a manifest; - reads more from\n" +
      "stdin. A path that cannot be selected is reported, and the rest is pushed.",
    options: PATH_OPTIONS,
    examples: [
      ["handpick push ./result", "push one build"],
      ["handpick push --to cachix://mycache .#foo", "build, then push to a cache"],
      ["handpick push --to file:///srv/cache .#foo", "the same for a folder"],
      ["nix path-info .#a .#b | handpick push --stdin", "push what another tool lists"],
      ["handpick push --wanted", "push all that is wanted, and wait"],
    ],
    action: async (args, options) => {
      const report = await chooseReport(io, options);
      const note = (text: string): void => report.show({ event: "note", text });
      let isTold = false;
      const show = (event: RunEvent): void => {
        isTold ||= event.event === "summary";
        report.show(event);
      };
      try {
        return await withGathered({ args, options, io, note }, (readied) =>
          push(readied, show, { io, isJson: options.json === true }),
        );
      } catch (error) {
        throw isTold ? new ToldError(error) : error;
      } finally {
        report.end();
      }
    },
  });
}

async function push(
  { gathered, options, config }: GatheredRun,
  show: (event: RunEvent) => void,
  { io, isJson }: { readonly io: Io; readonly isJson: boolean },
): Promise<number> {
  const { summary, failures, troubled } = await pushAll(gathered, { ...options, onEvent: show });
  if (summary.held > 0 && config.rules.onHole === "fail") {
    show({ event: "note", text: 'Nothing was pushed: paths are held, and on-hole = "fail"' });
  }
  // Events are for programs; people see in a log why it ended like that.
  if (isJson) for (const failure of failures) printError(failure, io);
  return exitCodeAfter(failures, troubled);
}
