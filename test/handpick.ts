import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import type { TestNix } from "./nix.ts";

/** The program as users get it; `npm test` bundles it before the tests run. */
export const BUNDLE: string = fileURLToPath(new URL("../dist/handpick.js", import.meta.url));

/** Where coverage is measured the sources run instead, so that what children do counts. */
const coverage = process.env["NODE_V8_COVERAGE"];
const program =
  coverage === undefined ? BUNDLE : fileURLToPath(new URL("../src/main.ts", import.meta.url));

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Run the bundle even where coverage is measured, for tests that start it hundreds of times. */
  readonly uncovered?: boolean;
  /** Start it in a session of its own, which has no terminal. */
  readonly detached?: boolean;
  /** For Node, before the program: its start scripts drop `NODE_OPTIONS`. */
  readonly nodeArgs?: readonly string[];
  /** Give it a pipe both ways at descriptor {@link CHANNEL}. @default {false} */
  readonly hasChannel?: boolean;
}

/** Where a program finds the pipe of `hasChannel`; the end here is in `stdio` at the same place. */
export const CHANNEL = 3;

/** Where compiled sources are kept for the next process; the environment of a Nix does not name it. */
const compiled = process.env["NODE_COMPILE_CACHE"];

/** Starts handpick with the environment of a throw-away Nix and nothing of the user's. */
export function startHandpick(
  nix: TestNix,
  args: readonly string[],
  options: StartOptions = {},
): ChildProcessWithoutNullStreams {
  const { env = {}, cwd = nix.dir, uncovered = false, detached = false, nodeArgs = [] } = options;
  const channel = options.hasChannel === true ? ["pipe" as const] : [];
  return spawn(process.execPath, [...nodeArgs, uncovered ? BUNDLE : program, ...args], {
    cwd,
    detached,
    stdio: ["pipe", "pipe", "pipe", ...channel],
    // Node hands the variable down by itself unless it is named here.
    env: {
      ...nix.env,
      NODE_V8_COVERAGE: uncovered ? undefined : coverage,
      NODE_COMPILE_CACHE: uncovered ? undefined : compiled,
      ...namedConfig(nix, cwd),
      ...env,
    },
  });
}

/** The environment that names the configuration of the Nix's folder, where that is the working folder. */
function namedConfig(nix: TestNix, cwd: string): Readonly<Record<string, string>> {
  const file = join(nix.dir, "handpick.toml");
  return cwd === nix.dir && existsSync(file) ? { HANDPICK_CONFIG: file } : {};
}

/** Runs handpick to its end. */
export async function handpick(
  nix: TestNix,
  args: readonly string[],
  options: StartOptions & { readonly stdin?: string } = {},
): Promise<Result> {
  const child = startHandpick(nix, args, options);
  child.stdin.on("error", () => undefined); // it may end without reading
  child.stdin.end(options.stdin);
  return await resultOf(child);
}

/** Waits for the end of a program; killed by a signal counts as 128 plus nothing: -1. */
export async function resultOf(child: ChildProcessWithoutNullStreams): Promise<Result> {
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { status: status ?? -1, stdout, stderr };
}

/** A running `handpick serve`. */
export interface ServeRig extends AsyncDisposable {
  readonly url: string;
  readonly dir: string;
  readonly token: string;
  readonly publicKeys: readonly string[];
  readonly nixConf: readonly string[];
  readonly process: ChildProcessWithoutNullStreams;
}

export interface ServeRigOptions {
  /** @default {"mine"} */
  readonly name?: string;
  readonly args?: readonly string[];
  /** Folder of the cache. @default {<dir of Nix>/cache-<name>} */
  readonly dir?: string;
  readonly uncovered?: boolean;
}

/** Starts `handpick serve` on a free port and adds it to `handpick.toml` in the Nix's folder. */
export async function startServe(nix: TestNix, options: ServeRigOptions = {}): Promise<ServeRig> {
  const { name = "mine", args = [], dir = join(nix.dir, `cache-${name}`) } = options;
  const listen = ["--listen", "127.0.0.1:0", "--json"];
  const serve = ["serve", "--dir", dir, "--name", name, ...listen, ...args];
  const child = startHandpick(nix, serve, { uncovered: options.uncovered ?? false });
  const complaints = text(child.stderr);
  const exited = once(child, "exit");
  const first = once(createInterface({ input: child.stdout }), "line") as Promise<[string]>;
  const line = await Promise.race([first, exited.then(() => undefined)]);
  if (line === undefined) throw new Error(`handpick serve ended: ${await complaints}`);
  const told = JSON.parse(line[0]) as Pick<ServeRig, "url" | "publicKeys" | "nixConf"> & {
    tokenFile: string;
  };
  const settings = { url: `cachix://${name}`, host: told.url, "token-file": told.tokenFile };
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const config = `[caches.${name}]\n${lines.join("\n")}\n`;
  await writeFile(join(nix.dir, "handpick.toml"), config, { flag: "a" });
  return {
    ...told,
    dir,
    token: (await readFile(told.tokenFile, "utf8")).trim(),
    process: child,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** The status that readers get for a path: 200 where it is served. */
export async function statusOf(
  cache: Pick<ServeRig, "url">,
  path: string,
  token?: string,
): Promise<number> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const hashPart = basename(path).slice(0, 32);
  return (await fetch(`${cache.url}/${hashPart}.narinfo`, { headers })).status;
}

/** Whether readers of a served cache get a path. */
export async function isServed(cache: Pick<ServeRig, "url">, path: string): Promise<boolean> {
  return (await statusOf(cache, path)) === 200;
}

/** An empty store elsewhere that substitutes from one cache only, signatures required. */
export function freshMachine(
  nix: TestNix,
  cache: Pick<ServeRig, "nixConf">,
  name = "fresh",
): { readonly root: string; readonly env: Readonly<Record<string, string>> } {
  const root = join(nix.dir, name);
  const config = [
    ...cache.nixConf,
    "require-sigs = true",
    "build-users-group =",
    "sandbox = false",
  ];
  const home = join(nix.dir, `home-${name}`);
  return {
    root,
    // A home of its own: Nix remembers what a cache answered.
    env: {
      NIX_REMOTE: `local?root=${root}`,
      NIX_CONFIG: config.join("\n"),
      HOME: home,
      XDG_CACHE_HOME: join(home, ".cache"),
    },
  };
}
