import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ROOT } from "../scripts/command.ts";
import type { Bench } from "./bench.ts";
import { run } from "./process.ts";
import type { Finished } from "./process.ts";
import type { SinkMode } from "./sink.ts";

/** The program as users get it. */
export const PROGRAM: string = join(ROOT, "dist/handpick.js");

/** Runs a file with this Node, and with a profile if that is wanted. */
export async function runNode(
  bench: Bench,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const { store, workDir, profileDir, signal } = bench;
  const profile = profileDir === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileDir];
  return await run(process.execPath, [...profile, ...args], {
    env: { ...store.env, ...env },
    cwd: workDir,
    signal,
  });
}

/** What a push has to do, lest something else is measured. */
export interface PushCheck {
  readonly mode?: Partial<SinkMode>;
  /** How many paths have to arrive. */
  readonly paths: number;
}

/** Writes a configuration whose cache is the sink. */
export async function writeConfig({ sink, workDir }: Bench): Promise<string> {
  const folder = join(workDir, "handpick");
  await mkdir(folder, { recursive: true });
  const config = join(folder, "handpick.toml");
  const settings = { url: "cachix://bench", host: sink.url, "token-env": "BENCH_TOKEN" };
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  await writeFile(config, `[caches.bench]\n${lines.join("\n")}\n`);
  return config;
}

/**
 * Pushes one or more closures to the sink, as a user would.
 *
 * @throws {Error} If not as many paths arrive.
 */
export async function push(
  bench: Bench,
  path: string | readonly string[],
  check: PushCheck,
): Promise<Finished> {
  const { sink } = bench;
  const config = await writeConfig(bench);
  sink.reset(check.mode);
  const env = { BENCH_TOKEN: "token" };
  const finished = await runNode(bench, [PROGRAM, "push", "-c", config, ...[path].flat()], env);
  const { paths } = sink.counts();
  if (paths !== check.paths) throw new Error(`Expected ${check.paths} paths pushed, got ${paths}`);
  return finished;
}
