import { closeSync, openSync } from "node:fs";
import { resolve } from "node:path";

import { stateDirectory } from "../config/state-directory.ts";
import { EXIT, HandpickError } from "../error.ts";
import { type ExecEnd, execCommand, type Way } from "../live/exec.ts";
import type { RunningCommand } from "../live/run-command.ts";
import { quote } from "../nix/format-error.ts";
import { jsonReport, plainReport, type PushReport, quietReport } from "../report/push-report.ts";
import { failureLines } from "../report/push-lines.ts";
import { type StateFolder, stateFolder } from "../state/state-folder.ts";
import { assertOwnState } from "../state/state-trust.ts";
import { openStore } from "../store/open-store.ts";
import type { RunEvent } from "../run/events.ts";
import { defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { assertAccepts, INCLUDE_OPTION, liveConfig, type LiveOptions } from "./live-config.ts";
import { rarely } from "./prepare-run.ts";

interface ExecOptions extends LiveOptions {
  readonly to?: readonly string[];
  readonly strict?: boolean;
  readonly via?: string;
}

/** `handpick exec`: run a command, push what it builds. */
export function execCommandSpec(io: Io): NamedCommand {
  return defineCommand<ExecOptions>({
    usage: "exec -- <command...>",
    summary: "Run a command; push its builds that the rules accept",
    description:
      "Run a command and push its builds while it runs: outputs that match a glob of\n" +
      "[builds] or --include, with --manifests the paths that built manifests name\n" +
      "(cachixPackages), and paths of wanted selections. The command keeps its input,\n" +
      "output and exit code, and waits for no push; handpick writes to stderr only.\n\n" +
      "In a glob, * stands for any characters, ? for one, [a-z] for one of these.\n\n" +
      "Ctrl-C reaches the command, and its builds are pushed; a second one gives up\n" +
      "pushing. Exit code: the command's; 126 or 127 if it does not start.",
    options: [
      [
        "-t, --to <cache>",
        "Cache name or URL; may be given more than once (default: as manifests and [builds] say)",
        "repeatable",
      ],
      INCLUDE_OPTION,
      [
        "--manifests",
        "Also push paths that built manifests name (default: as [builds] says, else off)",
      ],
      ["--substituted", "Also push paths that are substituted or copied (default: off)"],
      ["--strict", "Exit with 1 if something accepted is not pushed (default: off)"],
      [
        "--via <way>",
        "See builds by a hook or by watching the store (default: the one that works)",
      ],
      ["--store <store>", "Nix store to read (default: auto)"],
      ["--json", "Print JSON on stderr (default: text)"],
    ],
    examples: [
      ["handpick exec --manifests -- nix-build picks.nix", "build and push cachixPackages"],
      ["handpick exec -i 'my-*' -- make world", "push what is built and named so"],
    ],
    action: async (words, options) => exec(words, options, io),
  });
}

async function exec(words: readonly string[], options: ExecOptions, io: Io): Promise<number> {
  const { env, cwd, uid } = io;
  const way = parseWay(options);
  const to = options.to ?? [];
  const config = await liveConfig(options, io, { isOnce: true, to });
  const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
  await assertAccepts("push what is built", { config, folder, to });
  const givenUp = new AbortController();
  const signal = AbortSignal.any([givenUp.signal, io.signal]);
  await using store = await openStore({ store: options.store, env, signal });
  const report = execReport(io, options);
  const note = (text: string): void => report.show({ event: "note", text });
  givenUp.signal.addEventListener("abort", () => note("pushing stops"), { once: true });
  using signals = new Signals(givenUp, io);
  try {
    const end = await execCommand({
      command: words,
      config,
      store,
      folder: await ownFolder(folder, note),
      to,
      substituted: options.substituted === true,
      way,
      env,
      cwd,
      uid,
      signal,
      notify: rarely(note),
      onEvent: (event) => report.show(event),
      onStart: (command) => signals.passTo(command),
    });
    const isInterrupted = signal.aborted;
    conclude(end, { isInterrupted, report });
    const idle = end.idle.filter((glob) => options.include?.includes(glob) === true);
    // Where nothing at all is accepted, that is told.
    if (end.hasAccepted && idle.length > 0) {
      note(`no build matches --include ${idle.map(quote).join(", ")}`);
    }
    return exitCode(end, { isStrict: options.strict === true, isInterrupted });
  } finally {
    report.end();
  }
}

/** Undefined if the state folder may be another user's: what is wanted there is not pushed for us. */
async function ownFolder(
  folder: StateFolder,
  note: (text: string) => void,
): Promise<StateFolder | undefined> {
  try {
    await assertOwnState(folder.dir, "act");
    return folder;
  } catch (error) {
    if (!(error instanceof HandpickError)) throw error;
    note(`selections are ignored: ${error.message}`);
    return undefined;
  }
}

function parseWay({ via: text, substituted }: ExecOptions): Way | undefined {
  if (text === "hook" && substituted === true) {
    const message = "Cannot use --substituted with --via hook: Nix runs the hook for builds only";
    throw new HandpickError("USAGE", message, { hint: "Leave out --via, or use --via store." });
  }
  if (text === undefined || text === "hook" || text === "store") return text;
  throw new HandpickError("USAGE", `Cannot see builds via ${JSON.stringify(text.slice(0, 80))}`, {
    hint: "Use --via hook or --via store, or leave it out.",
  });
}

/** Plain lines: a line that is redrawn would be in the way of what the command prints. */
function execReport(io: Io, { json, quiet }: ExecOptions): PushReport {
  const streams = { stdout: io.stderr, stderr: io.stderr };
  if (json === true) return jsonReport(streams);
  const report = quiet === true ? quietReport(streams) : plainReport(streams);
  return {
    show: (event: RunEvent) => {
      if (event.event !== "error") report.show(event);
      else io.stderr.write(`handpick: ${failureLines(event.error).join("\n")}\n`);
    },
    end: () => report.end(),
  };
}

interface Conclusion {
  readonly isInterrupted: boolean;
  readonly report: PushReport;
}

function conclude(end: ExecEnd, { isInterrupted, report }: Conclusion): void {
  const { summary, seen, hasAccepted, exitCode } = end;
  const note = (text: string): void => report.show({ event: "note", text });
  if (hasAccepted) report.show(summary);
  // Builds that nobody looked at may be there.
  else if (isInterrupted) note("nothing is pushed: interrupted");
  else if (seen > 0) {
    const none = seen === 1 ? "do not accept the new path" : `accept none of ${seen} new paths`;
    note(`nothing is pushed: the rules ${none}\n  Set include in [builds], or give --include.`);
  } else if (exitCode === 0) {
    note(
      "nothing is pushed: nothing was built\n  Push paths that are there already by handpick push.",
    );
  }
}

interface EndOptions {
  readonly isStrict: boolean;
  readonly isInterrupted: boolean;
}

function exitCode({ exitCode, summary, isIncomplete }: ExecEnd, mood: EndOptions): number {
  if (exitCode !== 0) return exitCode;
  if (mood.isInterrupted) return EXIT.interrupted;
  const isLeft = summary.failed + summary.held + summary.unfinished > 0 || isIncomplete;
  return mood.isStrict && isLeft ? EXIT.somePathsFailed : EXIT.done;
}

/** Signals while the command runs are the command's; a second one also ends the pushing. */
class Signals implements Disposable {
  readonly #interception: Disposable | undefined;
  readonly #givenUp: AbortController;
  #command: RunningCommand | undefined;
  #count = 0;

  constructor(givenUp: AbortController, { intercept }: Io) {
    this.#givenUp = givenUp;
    this.#interception = intercept?.((signal) => this.#take(signal));
  }

  passTo(command: RunningCommand): void {
    this.#command = command;
    void command.ended.then(() => (this.#command = undefined));
  }

  [Symbol.dispose](): void {
    this.#interception?.[Symbol.dispose]();
  }

  #take(signal: NodeJS.Signals): boolean {
    if (this.#command === undefined) return false;
    this.#count += 1;
    if (this.#count > 1) this.#givenUp.abort(new DOMException("Given up", "AbortError"));
    // A terminal sends Ctrl-C to the command as well; twice would mean something else to it.
    if (signal !== "SIGINT" || !hasTerminal()) this.#command.kill(signal);
    return true;
  }
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}
