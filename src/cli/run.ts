import { Command, CommanderError } from "commander";

import { defineCommand } from "./command.ts";
import { doctorCommand } from "./doctor.ts";
import { execCommandSpec } from "./exec.ts";
import { EXIT, exitCodeOf } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { keygenCommand } from "./keygen.ts";
import { pinCommand } from "./pin.ts";
import { planCommand } from "./plan.ts";
import { printError } from "./print-error.ts";
import { pushCommand } from "./push.ts";
import { serveCommand } from "./serve.ts";
import { statusCommand } from "./status.ts";
import { syncCommand } from "./sync.ts";
import { VERSION } from "../version.ts";
import { watchCommand } from "./watch.ts";

/** Runs the program; never throws. Returns the exit code of design: 0, 1, 2, 3 or 130. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = makeProgram(io, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(withoutHelpOfNothing(argv, program), { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (io.signal.aborted) {
      io.stderr.write("handpick: interrupted\n");
      return EXIT.interrupted;
    }
    printError(error, io);
    return exitCodeOf(error);
  }
}

/** For the help of a command that there is none of, commander shows all help and says nothing. */
function withoutHelpOfNothing(argv: readonly string[], { commands }: Command): readonly string[] {
  const name = argv[0] === "help" ? argv[1] : argv[0];
  if (name === undefined || name.startsWith("-")) return argv;
  return commands.some((command) => command.name() === name) ? argv : [name];
}

function makeProgram(io: Io, ended: (exitCode: number) => void): Command {
  const program = new Command("handpick")
    .description("Declare which packages your binary cache holds; handpick keeps it so.")
    .version(VERSION, "-V, --version", "Print the version")
    .helpOption("-h, --help", "Show this help")
    .helpCommand("help [command]", "Show help for a command")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      getOutHelpWidth: () => 80,
      getErrHelpWidth: () => 80,
    })
    .showHelpAfterError("Run `handpick --help` or `handpick <command> --help` for usage");
  const commands = [
    defineCommand(pushCommand(io), ended),
    defineCommand(planCommand(io), ended),
    defineCommand(syncCommand(io), ended),
    defineCommand(statusCommand(io), ended),
    defineCommand(execCommandSpec(io), ended),
    defineCommand(watchCommand(io), ended),
    defineCommand(pinCommand(io), ended),
    defineCommand(keygenCommand(io), ended),
    defineCommand(doctorCommand(io), ended),
    defineCommand(serveCommand(io), ended),
  ];
  for (const command of commands) program.addCommand(command.copyInheritedSettings(program));
  return program;
}
