import { resolve } from "node:path";

import { loadConfig } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { HandpickError } from "../error.ts";
import { statusLines } from "../report/status-lines.ts";
import { stateFolder } from "../state/state-folder.ts";
import { readStatus } from "../sync/status.ts";
import type { CommandSpec, CommonOptions } from "./command.ts";
import { EXIT } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

/** A configuration that cannot be used hides nothing of the state, unless it was named here. */
async function loadForStatus(options: CommonOptions, io: Io): Promise<void> {
  const { env, cwd, uid } = io;
  const note = quietly(options, io);
  try {
    await loadConfig({ file: options.config, env, cwd, uid, serves: "wanted", note });
  } catch (error) {
    if (options.config !== undefined || !(error instanceof HandpickError)) throw error;
    note(`${error.message} [${error.code}]`);
  }
}

/** `handpick status`: what is wanted, and how far it is. */
export function statusCommand(io: Io): CommandSpec<CommonOptions> {
  return {
    usage: "status",
    summary: "Show what is wanted, what waits and what fails",
    description:
      "Show what is wanted, in which cache, what waits or fails since when and why,\n" +
      "and when it is tried again. Asks nobody and changes nothing.",
    options: [],
    examples: [
      ["handpick status", "how the caches stand"],
      ["handpick status --json | jq .caches", "the same for programs"],
    ],
    action: async (_, options) => {
      const { env, uid, cwd, stdout } = io;
      await loadForStatus(options, io);
      const status = await readStatus(stateFolder(resolve(cwd, stateDirectory(env, uid))));
      if (options.json === true) stdout.write(`${JSON.stringify({ version: 1, ...status })}\n`);
      else for (const line of statusLines(status, Date.now())) stdout.write(`${line}\n`);
      return EXIT.done;
    },
  };
}
