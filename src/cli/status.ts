import { resolve } from "node:path";

import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { EXIT, type Failure, HandpickError, toFailure } from "../error.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { statusLines } from "../report/status-lines.ts";
import { stateFolder } from "../state/state-folder.ts";
import { readStatus } from "../sync/read-status.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

/**
 * Reads the configuration of the next sync, or why it cannot be used: that hides nothing of the state, unless
 * the file was named here.
 */
async function readConfig(
  options: CommonOptions,
  io: Io,
): Promise<{ readonly config?: Config; readonly risk?: Failure }> {
  const { env, cwd, uid } = io;
  const note = quietly(options, io);
  try {
    const found = { file: options.config, env, cwd, uid, serves: "wanted", note } as const;
    return { config: await loadConfig(found) };
  } catch (error) {
    if (options.config !== undefined || !(error instanceof HandpickError)) throw error;
    return { risk: toFailure(error) };
  }
}

interface StatusOptions extends CommonOptions {
  readonly check?: boolean;
}

/** `handpick status`: what is wanted, and how far it is. */
export function statusCommand(io: Io): NamedCommand {
  return defineCommand<StatusOptions>({
    usage: "status",
    summary: "Show what caches lack, the next sync, and what to do",
    description:
      "Show whether all that is wanted is where it should be, what starts the next\n" +
      "sync, and what to do now; then the paths that wait or fail, since when and why.\n" +
      "Asks no cache and changes nothing.\n\n" +
      "Selections are declared in Nix, by the modules for home-manager, NixOS and\n" +
      "nix-darwin, or in a shell.nix, where handpick is the Nix code of this program:\n\n" +
      '  shellHook = handpick.lib.shellHook { name = "tools"; packages = [ ... ]; };',
    options: [["--check", "Exit with 1 if something is not where it should be (default: off)"]],
    examples: [
      ["handpick status", "how the caches stand"],
      ["handpick status --check -q || mail me", "for scripts"],
      ["handpick status --json | jq .caches", "the same for programs"],
    ],
    action: async (_, options) => {
      const { env, uid, cwd, stdout } = io;
      const configured = await readConfig(options, io);
      const folder = stateFolder(resolve(cwd, stateDirectory(env, uid)));
      const status = await readStatus(folder, env, configured);
      if (options.json === true) stdout.write(`${JSON.stringify({ version: 1, ...status })}\n`);
      else if (options.check !== true || options.quiet !== true) {
        const lines = statusLines(status, Date.now(), painter(stdout));
        for (const line of lines) writeText(stdout, line);
      }
      return options.check === true && !status.isInPlace ? EXIT.somePathsFailed : EXIT.done;
    },
  });
}
