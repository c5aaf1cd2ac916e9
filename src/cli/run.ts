import { Command, CommanderError } from "commander";

import { EXIT } from "../error.ts";
import { VERSION } from "../version.ts";
import type { NamedCommand } from "./command.ts";
import { exitCodeOf } from "./exit-code.ts";
import { assertNoForeignVerb } from "./foreign-verb.ts";
import type { Io } from "./io.ts";
import { type JsonErrors, jsonErrorLines, ToldError } from "./json-error.ts";
import { printError } from "./print-error.ts";
import { pushCommand } from "./push.ts";
import { usageError } from "./usage-error.ts";

const LONGEST_LINE = 80;
/** The code of the end of a command line that has nothing but options; all help was shown. */
const HELP_SHOWN = "commander.help";

/** Runs the program and returns its exit code; never throws. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.done;
  const [name = "", ...rest] = argv;
  const program = makeProgram(io);
  for (const { makeParser } of await commandsFor(name, io)) {
    const parser = makeParser((code) => (exitCode = code));
    program.addCommand(parser.copyInheritedSettings(program));
  }
  try {
    assertNoForeignVerb(name === "help" ? (rest[0] ?? "") : name);
    const isVersion = name === "version" || name === "-v";
    const words = isVersion ? ["--version"] : withoutHelpOfNothing(argv, program);
    await program.parseAsync(words, { from: "user" });
    return exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      if (thrown.exitCode === 0) return EXIT.done;
      if (thrown.code === HELP_SHOWN) return EXIT.usage;
      return conclude(usageError(thrown, program, name), argv, io);
    }
    return conclude(thrown, argv, io);
  }
}

/** Tells why the run ended, on stdout too if the answer is JSON. */
function conclude(thrown: unknown, argv: readonly string[], io: Io): number {
  const error = thrown instanceof ToldError ? thrown.cause : thrown;
  if (asksForJson(argv) && !(thrown instanceof ToldError)) {
    for (const line of jsonErrorLines(errorsOf(error), JSON_ERRORS[argv[0] ?? ""] ?? "object")) {
      io.stdout.write(`${line}\n`);
    }
  }
  if (io.signal.aborted) {
    io.stderr.write("handpick: interrupted\n");
    return EXIT.interrupted;
  }
  printError(error, io);
  return exitCodeOf(error);
}

function errorsOf(error: unknown): readonly unknown[] {
  return error instanceof AggregateError ? error.errors : [error];
}

/** After `--` the command line is that of another program. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end === -1 ? argv : argv.slice(0, end)).includes("--json");
}

/** How commands whose answer is no single object tell of errors with `--json`. */
const JSON_ERRORS: Readonly<Partial<Record<string, JsonErrors>>> = {
  push: "run",
  sync: "run",
  watch: "event",
  serve: "event",
  exec: "none", // stdout is its command's
};

/** For the help of a command that there is none of, commander shows all help and says nothing. */
function withoutHelpOfNothing(argv: readonly string[], { commands }: Command): readonly string[] {
  const name = argv[0] === "help" ? argv[1] : argv[0];
  if (name === undefined || name.startsWith("-")) return argv;
  return commands.some((command) => command.name() === name) ? argv : [name];
}

/**
 * Returns the command of that name, or all if there is none. Services, hooks and CI start push and
 * sync, all day: those two load nothing of the others.
 */
async function commandsFor(name: string, io: Io): Promise<readonly NamedCommand[]> {
  if (name === "push") return [pushCommand(io)];
  if (name === "sync") {
    const { syncCommand } = await import("./sync.ts");
    return [syncCommand(io)];
  }
  const { allCommands } = await import("./all-commands.ts");
  const all = allCommands(io);
  const named = all.filter((command) => command.name === name);
  return named.length > 0 ? named : all;
}

function makeProgram(io: Io): Command {
  return new Command("handpick")
    .description("Declare which packages your binary cache holds; handpick keeps it so.")
    .version(VERSION, "-V, --version", "Print the version")
    .helpOption("-h, --help", "Show this help")
    .helpCommand("help [command]", "Show help for a command")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined, // told by conclude()
      getOutHelpWidth: () => helpWidth(io.stdout),
      getErrHelpWidth: () => helpWidth(io.stderr),
    })
    .addHelpText("after", CONFIGURATION_HELP);
}

const CONFIGURATION_HELP = `
Configuration, the first of: --config FILE, the file that HANDPICK_CONFIG names,
./handpick.toml, $XDG_CONFIG_HOME/handpick/config.toml (~/.config by default),
/etc/handpick/config.toml for root. An example:
    [caches.mine]
    url = "cachix://mycache"
    token-file = "/run/secrets/cachix"    # or CACHIX_AUTH_TOKEN, or cachix.dhall
    [rules]
    exclude = ["*-source"]

Begin with: handpick doctor cachix://mycache`;

function helpWidth({ isTTY, columns }: Io["stdout"]): number {
  return isTTY === true && columns !== undefined ? Math.min(columns, LONGEST_LINE) : LONGEST_LINE;
}
