import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline/promises";
import { text } from "node:stream/consumers";

import { fileUrl } from "../src/cache/file/file-url.ts";
import { bundle } from "./build.ts";
import { childEnv, ROOT } from "./command.ts";

/** The lines that are typed in the shell, each shown before it runs. */
const TYPED = `
echo "$greet $diary" > shell-variables
echo "greet is $greet"
echo "diary is $diary, not picked"
type 'cat $picks'
echo; echo "-- What would be pushed, and why"
type 'handpick plan $picks'
echo; echo "-- Push it"
type 'handpick push $picks'
echo; echo "-- Once more: there is nothing to do"
type 'handpick push $picks'
`;

/** In a shell whose hook has selected packages, without a cache. */
const TYPED_OFFLINE = `
echo "$letter" > shell-variables
type 'handpick sync'
echo; echo "-- What became of it"
type 'handpick status'
`;

const program = join(ROOT, "dist", "handpick.js");
const dir = await mkdtemp(join(tmpdir(), "handpick-try-"));
const bin = join(dir, "bin");
/** Nobody's configuration, tokens or proxies; the user's own Nix and its settings. */
const env = cleanEnv();

const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stopped.abort());
try {
  await tryIt();
} catch (error) {
  process.exitCode = stopped.signal.aborted ? 130 : 1;
  if (!stopped.signal.aborted) process.stderr.write(`\n${explain(error)}\n`);
} finally {
  await run("chmod", ["-R", "u+w", dir], { quiet: true });
  await rm(dir, { recursive: true, force: true });
}

async function tryIt(): Promise<void> {
  say("Building handpick");
  await bundle();
  say(`Using ${(await run("nix-store", ["--version"], { quiet: true })).trim()}`);

  say("Starting a cache of our own that speaks Cachix's protocol");
  await using stack = new AsyncDisposableStack();
  const { url, publicKey, stop } = stack.use(await startCache("127.0.0.1:0"));
  show("handpick serve --name try --listen 127.0.0.1:0", `Cache "try" at ${url}\n`);

  say("Entering a nix-shell that builds three packages and picks two");
  await installHandpick();
  await enterShell("shell.nix", TYPED);
  const [greet = "", diary = ""] = await shellVariables();

  say("A fresh machine: an empty store that trusts this cache only, signatures required");
  const freshEnv = freshMachine("fresh", url, publicKey);
  await nix("nix-store", ["--realise", greet, "--add-root", "fresh-greet"], freshEnv);
  await nix("nix-store", ["--verify", "--check-contents"], freshEnv);
  const copied = join(dir, "fresh", greet);
  show(`sh ${copied}`, await run("sh", [copied], { quiet: true }));

  say("A folder, as on a USB disk, is a cache as well: push to it, and read it back");
  await tryFolder(greet);

  say("The third package was never sent");
  const answer = await fetch(`${url}/${basename(diary).slice(0, 32)}.narinfo`);
  show(`GET ${basename(diary).slice(0, 32)}.narinfo`, `${answer.status} ${answer.statusText}\n`);
  if (answer.status !== 404) throw new Error("The cache has a path that nobody picked");

  say("The cache goes down, and a nix-shell declares what it should hold");
  await stop();
  const ln = (await run("sh", ["-c", "command -v ln"], { quiet: true })).trim();
  const coreutils = dirname(dirname(ln));
  await enterShell("project.nix", TYPED_OFFLINE, ["--argstr", "coreutils", coreutils]);
  const [letter = ""] = await shellVariables();

  say("The cache is back");
  stack.use(await startCache(new URL(url).host));
  await type(["sync", "--recheck"]);
  await type(["status"]);
  const served = await fetch(`${url}/${basename(letter).slice(0, 32)}.narinfo`);
  if (served.status !== 200) throw new Error("The cache lacks a path that was declared");
  say("Done. Your own cache is one line away: handpick push --to cachix://NAME ./result");
}

async function tryFolder(path: string): Promise<void> {
  const disk = fileUrl(join(dir, "disk"));
  const table = `[caches.disk]\nurl = "${disk}"\nsigning-key-file = "disk.sec"\n`;
  await writeFile(join(dir, "disk.toml"), table);
  const keygen = ["keygen", "disk-1", "--out", "disk.sec"];
  const publicKey = await run(join(bin, "handpick"), keygen, { quiet: true });
  show(`handpick ${keygen.join(" ")}`, publicKey);
  await type(["push", "--config", "disk.toml", path]);
  const reader = freshMachine("reader", disk, publicKey);
  await nix("nix-store", ["--realise", path, "--add-root", "disk-greet"], reader);
}

/** The environment of a machine with an empty store, which trusts one cache only. */
function freshMachine(name: string, url: string, publicKey: string): Record<string, string> {
  const nixConfig = [
    `substituters = ${url}`,
    `trusted-public-keys = ${publicKey.trim()}`,
    "require-sigs = true",
    "build-users-group =",
    "sandbox = false",
  ].join("\n");
  const store = `local?root=${join(dir, name)}`;
  return { NIX_REMOTE: store, NIX_CONFIG: nixConfig, HOME: join(dir, "home") };
}

interface TryCache extends AsyncDisposable {
  readonly url: string;
  readonly publicKey: string;
  readonly stop: () => Promise<void>;
}

async function startCache(listen: string): Promise<TryCache> {
  const args = [program, "serve", "--name", "try", "--listen", listen, "--json"];
  const child = spawn(process.execPath, [...args, "--quiet", "--dir", join(dir, "cache")], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  stopped.signal.addEventListener("abort", () => child.kill());
  const printed = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(printed, "line"), exited])) as [unknown];
  if (typeof line !== "string") throw new Error("The cache did not start");
  const { url, publicKeys, tokenFile } = JSON.parse(line) as {
    url: string;
    publicKeys: [string];
    tokenFile: string;
  };
  const settings = { url: "cachix://try", host: url, "token-file": tokenFile };
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  // The user's file: what is wanted does not go by one that is found in a folder.
  await mkdir(join(dir, "config/handpick"), { recursive: true });
  await writeFile(join(dir, "config/handpick/config.toml"), `[caches.try]\n${lines.join("\n")}\n`);
  const stop = async (): Promise<void> => {
    child.kill();
    await exited;
  };
  return { url, publicKey: publicKeys[0], stop, [Symbol.asyncDispose]: stop };
}

async function installHandpick(): Promise<void> {
  await mkdir(bin);
  const wrapper = `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`;
  await writeFile(join(bin, "handpick"), wrapper, { mode: 0o755 });
}

/** Runs `nix-shell`, which builds the packages, and in it what is typed. */
async function enterShell(
  name: string,
  typed: string,
  args: readonly string[] = [],
): Promise<void> {
  const bash = (await run("sh", ["-c", "command -v bash"], { quiet: true })).trim();
  const file = join(ROOT, "scripts", "try", name);
  const type = `type() { echo "$ $1"; eval "$1"; }`;
  const command = ["--run", `set -e\nPATH=${bin}:$PATH\n${type}${typed}`];
  // The packages are nowhere to be had, so nobody is asked for them.
  const offline = ["--option", "substitute", "false"];
  // Root builds without a daemon, for which a new Nix has neither users nor a shell to put into a sandbox.
  const asRoot = ["--option", "build-users-group", "", "--option", "sandbox", "false"];
  const options = process.getuid?.() === 0 ? [...offline, ...asRoot] : offline;
  await run("nix-shell", [file, ...args, ...options, ...command], {
    env: { NIX_BUILD_SHELL: bash },
  });
}

/** Store paths that the shell wrote down. */
async function shellVariables(): Promise<string[]> {
  return (await readFile(join(dir, "shell-variables"), "utf8")).trim().split(" ");
}

async function type(args: readonly string[]): Promise<void> {
  process.stdout.write(`$ handpick ${args.join(" ")}\n`);
  await run(join(bin, "handpick"), args);
}

async function nix(
  command: string,
  args: readonly string[],
  extra: Readonly<Record<string, string>>,
): Promise<void> {
  process.stdout.write(`$ ${command} ${args.join(" ")}\n`);
  await run(command, args, { env: extra });
}

interface RunOptions {
  readonly quiet?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program in the try-out's folder; its output is shown, or with `quiet` returned. */
async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const quiet = options.quiet === true;
  const child = spawn(command, args, {
    cwd: dir,
    env: { ...env, ...options.env },
    // One stream for the transcript, in the order of time.
    stdio: quiet ? ["ignore", "pipe", "pipe"] : ["ignore", 1, 1],
  });
  const onAbort = (): void => void child.kill();
  stopped.signal.addEventListener("abort", onAbort);
  const output = Promise.all([
    child.stdout === null ? "" : text(child.stdout),
    child.stderr === null ? "" : text(child.stderr),
  ]);
  const [status] = (await once(child, "exit")) as [number | null];
  stopped.signal.removeEventListener("abort", onAbort);
  const [printed, complaint] = await output;
  if (status !== 0) throw new Error(`${command} ended with ${status ?? "a signal"}\n${complaint}`);
  return printed;
}

/** Returns the message of an error, and for the usual cause the next step. */
function explain(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!/permission/i.test(message) || process.getuid?.() === 0) return message;
  return `${message}
You may not use the Nix of this machine. On Debian, run nix-daemon and join its group,
  sudo usermod -aG nix-users "$USER"
then log in again; or run this as root.`;
}

function cleanEnv(): NodeJS.ProcessEnv {
  const {
    CACHIX_AUTH_TOKEN: _t,
    CACHIX_SIGNING_KEY: _k,
    HANDPICK_CONFIG: _c,
    HANDPICK_DISABLE: _d,
    CI: _ci,
    DRY_RUN: _n,
    ...rest
  } = childEnv();
  return {
    ...rest,
    XDG_CONFIG_HOME: join(dir, "config"),
    HANDPICK_STATE_DIR: join(dir, "state"),
    NIX_SHELL_PRESERVE_PROMPT: "1",
  };
}

function say(title: string): void {
  process.stdout.write(`\n── ${title}\n`);
}

function show(commandLine: string, output: string): void {
  process.stdout.write(`$ ${commandLine}\n${output}`);
}
