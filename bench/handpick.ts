import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ROOT } from "../scripts/command.ts";
import type { Bench } from "./bench.ts";
import { pathsIn } from "./nix-copy.ts";
import type { EmptyCache } from "./places.ts";
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
  const { store, workDir, signal } = bench;
  return await run(process.execPath, [...profileArgs(bench), ...args], {
    env: { ...store.env, ...env },
    cwd: workDir,
    signal,
  });
}

/** The options by which Node writes a profile, if that is wanted. */
export function profileArgs({ profileDir }: Bench): string[] {
  return profileDir === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileDir];
}

/** What a push has to do, lest something else is measured. */
export interface PushCheck {
  readonly mode?: Partial<SinkMode>;
  /** How many paths have to arrive in each cache. */
  readonly paths: number;
  /** Caches at once, all of them the sink. @default {1} */
  readonly caches?: number;
}

/** Writes a configuration whose caches are the sink. */
export async function writeConfig(
  { sink, workDir }: Bench,
  names: readonly string[] = ["bench"],
): Promise<string> {
  const folder = join(workDir, "handpick");
  await mkdir(folder, { recursive: true });
  const config = join(folder, "handpick.toml");
  const tables = names.map((name) =>
    cacheTable(name, { url: `cachix://${name}`, host: sink.url, "token-env": "BENCH_TOKEN" }),
  );
  await writeFile(config, tables.join(""));
  return config;
}

/**
 * Pushes one or more closures to the sink, or to several, as a user would.
 *
 * @throws {Error} If not as many paths arrive.
 */
export async function push(
  bench: Bench,
  path: string | readonly string[],
  check: PushCheck,
): Promise<Finished> {
  const { sink } = bench;
  const { caches = 1 } = check;
  const names = Array.from({ length: caches }, (_, index) => `bench-${index}`);
  const config = await writeConfig(bench, names);
  sink.reset(check.mode);
  const env = { BENCH_TOKEN: "token" };
  const to = names.flatMap((name) => ["--to", name]);
  const args = ["push", "-c", config, ...to, ...[path].flat()];
  const finished = await runNode(bench, [PROGRAM, ...args], env);
  const { paths } = sink.counts();
  const expected = check.paths * caches;
  if (paths !== expected) throw new Error(`Expected ${expected} paths pushed, got ${paths}`);
  return finished;
}

/**
 * Pushes a closure into a folder, as a user would.
 *
 * @throws {Error} If not as many paths arrive.
 */
export async function pushInto(
  bench: Bench,
  path: string,
  { dir, paths }: { readonly dir: string; readonly paths: number },
): Promise<Finished> {
  const finished = await runNode(bench, [PROGRAM, "push", "--to", `file://${dir}`, path]);
  const found = await pathsIn(dir);
  if (found !== paths) throw new Error(`Expected ${paths} paths pushed, got ${found}`);
  return finished;
}

/** Writes a configuration whose caches are these, whole closures. */
export async function writeConfigOf(
  { workDir }: Bench,
  caches: readonly EmptyCache[],
): Promise<ConfigOf> {
  const folder = await mkdtemp(join(workDir, "config-"));
  const config = join(folder, "handpick.toml");
  const names = caches.map((_, index) => `bench-${index}`);
  const tables = caches.map(({ url }, index) =>
    cacheTable(names[index] ?? "", { url, upstreams: [] }),
  );
  await writeFile(config, tables.join(""));
  return {
    config,
    names,
    env: Object.assign({}, ...caches.map(({ env }) => env)) as ConfigOf["env"],
  };
}

/** A configuration, and the environment that it needs. */
export interface ConfigOf {
  readonly config: string;
  /** Of its caches. */
  readonly names: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Pushes closures to places, as a user would.
 *
 * @throws {Error} If not as many paths are in each of them then.
 */
export async function pushTo(
  bench: Bench,
  path: string | readonly string[],
  { caches, paths }: { readonly caches: readonly EmptyCache[]; readonly paths: number },
): Promise<Finished> {
  const { config, names, env } = await writeConfigOf(bench, caches);
  const to = names.flatMap((name) => ["--to", name]);
  const args = [PROGRAM, "push", "-c", config, ...to, ...[path].flat()];
  const finished = await runNode(bench, args, env);
  for (const { dir } of caches) {
    const found = await pathsIn(dir);
    if (found !== paths) throw new Error(`Expected ${paths} paths pushed, got ${found}`);
  }
  return finished;
}

/** The table of a cache in `handpick.toml`. */
export function cacheTable(
  name: string,
  settings: Readonly<Record<string, string | readonly string[]>>,
): string {
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return `[caches.${name}]\n${lines.join("\n")}\n`;
}
