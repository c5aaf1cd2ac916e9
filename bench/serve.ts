import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createInterface } from "node:readline";

import type { Bench } from "./bench.ts";
import { cacheTable, PROGRAM, profileArgs, runNode } from "./handpick.ts";
import type { Finished } from "./process.ts";

/**
 * Pushes a closure to a `handpick serve` of its own with an empty folder, which is removed again.
 * The start of the server is not part of the time.
 *
 * @throws {Error} If not as many paths arrive.
 */
export async function pushToServe(bench: Bench, closure: string, paths: number): Promise<Finished> {
  const folder = await mkdtemp(join(bench.workDir, "serve-"));
  try {
    const dir = join(folder, "cache");
    await using server = await startServe(bench, dir);
    const config = join(folder, "handpick.toml");
    const { url: host, tokenFile } = server;
    await writeFile(
      config,
      cacheTable("bench", { url: "cachix://bench", host, "token-file": tokenFile }),
    );
    const args = ["push", "-c", config, "--to", "bench", closure];
    const finished = await runNode(bench, [PROGRAM, ...args]);
    const { length } = await readdir(join(dir, "nar"));
    if (length !== paths) throw new Error(`Expected ${paths} paths pushed, got ${length}`);
    return finished;
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface Serve extends AsyncDisposable {
  readonly url: string;
  readonly tokenFile: string;
}

/** Starts the program as a server, with a profile if that is wanted. */
async function startServe(bench: Bench, dir: string): Promise<Serve> {
  const { store, workDir, signal } = bench;
  const serve = ["serve", "--json", "-q", "-n", "bench", "-l", "127.0.0.1:0", "-d", dir];
  const child = spawn(process.execPath, [...profileArgs(bench), PROGRAM, ...serve], {
    env: store.env,
    cwd: workDir,
    signal,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  const errors = text(child.stderr);
  for await (const line of createInterface(child.stdout)) {
    const { url, tokenFile } = JSON.parse(line) as { url: string; tokenFile: string };
    return {
      url,
      tokenFile,
      [Symbol.asyncDispose]: async () => {
        child.kill("SIGTERM");
        await closed;
      },
    };
  }
  await closed;
  throw new Error(`Cannot start handpick serve: ${(await errors).slice(-2000)}`);
}
