import { Command } from "commander";

/** Options that every command takes. */
export interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** The work of a command: parsed arguments and options in, exit code out. */
export type Action<Options> = (args: readonly string[], options: Options) => Promise<number>;

export type OptionSpec = readonly [flags: string, description: string, kind?: "repeatable"];

export interface CommandSpec<Options> {
  /**
   * Name and arguments, as in the usage line: `push [path...]`. After `--` comes somebody else's
   * command line, which begins with the first word that is no option.
   */
  readonly usage: string;
  readonly summary: string;
  /** Paragraphs with an empty line between; their line breaks are those of the source. */
  readonly description: string;
  /**
   * Flags and what they do, each with its default. One whose value ends in `...` takes all words that
   * follow; a "repeatable" one takes one word each time it is given.
   */
  readonly options: readonly OptionSpec[];
  /** Command lines and what they do. */
  readonly examples: readonly (readonly [commandLine: string, effect: string])[];
  readonly action: Action<Options>;
}

const COMMON: readonly OptionSpec[] = [
  ["-c, --config <file>", "Configuration file (default: the first that handpick --help lists)"],
  ["--json", "Print JSON on stdout (default: text)"],
  ["-q, --quiet", "Print errors and answers only (default: off)"],
];

/** A command of the program, which the parser does not know yet. */
export interface NamedCommand {
  readonly name: string;
  /** Makes it for the parser; `ended` receives the exit code. */
  readonly define: (ended: (exitCode: number) => void) => Command;
}

/** Turns a table into a command. */
export function namedCommand<Options extends CommonOptions>(
  spec: CommandSpec<Options>,
): NamedCommand {
  const [name = "", ...parameters] = spec.usage.split(" ");
  return { name, define: (ended) => defineCommand(spec, { name, parameters, ended }) };
}

interface Definition {
  readonly name: string;
  readonly parameters: readonly string[];
  readonly ended: (exitCode: number) => void;
}

function defineCommand<Options extends CommonOptions>(
  spec: CommandSpec<Options>,
  { name, parameters, ended }: Definition,
): Command {
  const command = new Command(name).summary(spec.summary).description(reflow(spec.description));
  command.helpOption("-h, --help", "Show this help");
  if (parameters[0] === "--") {
    command.passThroughOptions().usage(`[options] ${parameters.join(" ")}`);
  }
  for (const parameter of parameters) if (parameter !== "--") command.argument(parameter);
  const own = new Set(spec.options.map(([flags]) => flags));
  const common = COMMON.filter(([flags]) => !own.has(flags));
  for (const [flags, description, kind] of [...spec.options, ...common]) {
    if (kind === "repeatable") command.option(flags, description, collect);
    else command.option(flags, description);
  }
  command.addHelpText("after", examplesText(spec.examples));
  command.action(async () => {
    ended(await spec.action(command.args, command.opts<Options>()));
  });
  return command;
}

/** Joins the lines of each paragraph: the help is wrapped at the width of the terminal. */
function reflow(text: string): string {
  return text.replaceAll(/(?<!\n)\n(?!\n)/g, " ");
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function examplesText(examples: CommandSpec<CommonOptions>["examples"]): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, effect]) => `  ${line.padEnd(width)}   ${effect}`);
  return `\nExamples:\n${lines.join("\n")}`;
}
