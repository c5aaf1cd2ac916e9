import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

import type { StorePath } from "../nix/store-path.ts";

/** Linux takes 128 KiB for one variable, and 2 MiB for all with the usual limit of the stack. */
const VARIABLE_BYTES = 100_000;
const VARIABLES = 10;

/**
 * Keeps `paths` from a garbage collector by naming them in the environment of a process, which it
 * searches for store paths. The process waits for the end of its input, so it ends with us, however
 * we end; in a session of its own, since Ctrl-C must not end it before we have let go.
 */
export async function holdNamed(paths: readonly StorePath[]): Promise<AsyncDisposable> {
  await using held = new AsyncDisposableStack();
  for (const env of environments(paths)) {
    const child = spawn("/bin/sh", ["-c", "read -r line"], {
      env,
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    await once(child, "spawn");
    // A hold that is forgotten does not keep us running.
    child.unref();
    held.defer(() => end(child));
  }
  return held.move();
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.ref();
  child.kill("SIGKILL");
  await ended;
}

/** Environments that name all of `paths`, each small enough for one process. */
function environments(paths: readonly StorePath[]): NodeJS.ProcessEnv[] {
  const texts: string[] = [];
  for (const path of paths) {
    const last = texts.at(-1);
    if (last === undefined || last.length + path.length >= VARIABLE_BYTES) texts.push(path);
    else texts[texts.length - 1] = `${last} ${path}`;
  }
  const all: NodeJS.ProcessEnv[] = [];
  for (let start = 0; start < texts.length; start += VARIABLES) {
    const some = texts.slice(start, start + VARIABLES);
    all.push(Object.fromEntries(some.map((text, index) => [`HANDPICK_HELD_${index}`, text])));
  }
  return all;
}
