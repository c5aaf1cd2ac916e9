import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";

import { HandpickError } from "../error.ts";
import type { Io } from "./io.ts";

/** Variables that name files from the working directory, which the copy does not have. */
const FILE_VARIABLES = ["HANDPICK_CONFIG", "HANDPICK_STATE_DIR"] as const;

/**
 * Starts a copy of this program in a session of its own, so that it outlives the terminal and whoever
 * started us, and holds nothing of theirs: no descriptors, no working directory. Nobody sees what it
 * prints.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if it cannot be started.
 */
export async function startDetached(
  args: readonly string[],
  { env, cwd }: Pick<Io, "env" | "cwd">,
): Promise<void> {
  const absolute = FILE_VARIABLES.flatMap((name) => {
    const file = env[name] ?? "";
    return file === "" ? [] : [[name, resolve(cwd, file)] as const];
  });
  const program = process.argv[1] ?? "";
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    cwd: "/",
    env: { ...env, ...Object.fromEntries(absolute) },
    detached: true,
    stdio: "ignore",
  });
  try {
    await once(child, "spawn");
  } catch (cause) {
    const message = `Cannot start a sync in the background: ${String(cause)}`;
    throw new HandpickError("FILE_UNUSABLE", message, { cause });
  }
  child.unref();
}
