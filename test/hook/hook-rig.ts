import { spawn, spawnSync } from "node:child_process";
import { mkdir, readdir, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Result, resultOf } from "../handpick.ts";
import { ROOT } from "../markdown.ts";
import { type TempDir, tempDir } from "../temp.ts";

export const HOOK: string = join(ROOT, "hook/handpick.sh");
export const POST_BUILD_HOOK: string = join(ROOT, "hook/post-build-hook");
/** Where the machine's coreutils are. */
export const TOOLS = "/usr/bin";

/** A shell as a command that takes a script, and why it cannot be tried, or `false`. */
export interface Shell {
  readonly shell: readonly string[];
  readonly skip: string | false;
}

/**
 * The shells that the hook is written for. Bash reads its start-up file if its input is a socket, as
 * Node's pipes are.
 */
export const SHELLS: readonly Shell[] = [
  ["bash", "--norc", "-c"],
  ["bash", "--norc", "--posix", "-c"],
  ["dash", "-c"],
  ["busybox", "sh", "-c"],
].map((shell) => ({ shell, skip: !isHere(shell[0] ?? "") && `${shell[0]} is not installed` }));

/** Why a test that watches system calls has to be skipped, or `false`. */
export const needsStrace: string | false =
  spawnSync("strace", ["-qq", "-e", "trace=none", "true"]).status === 0
    ? false
    : "strace is not here or may not trace";

/** A state folder, and manifests to select. */
export interface HookRig extends TempDir {
  readonly state: string;
  readonly env: Readonly<Record<string, string>>;
  /** Makes a manifest and returns its path. */
  manifest(name: string): Promise<string>;
  /** The names in `wanted` and in `spool`, and where the links lead. */
  found(): Promise<Found>;
}

export interface Found {
  readonly wanted: Readonly<Record<string, string>>;
  readonly spool: readonly string[];
}

export async function hookRig(): Promise<HookRig> {
  const temp = await tempDir();
  const state = join(temp.dir, "state");
  await mkdir(join(temp.dir, "store"));
  return {
    ...temp,
    state,
    env: { PATH: process.env["PATH"] ?? "", HOME: temp.dir, HANDPICK_STATE_DIR: state },
    manifest: async (name: string) => {
      const file = join(temp.dir, "store", name);
      await writeFile(file, `{"name":"${name}"}`);
      return file;
    },
    found: async () => {
      const names = await namesIn(join(state, "wanted"));
      const links = names.map(
        async (name) => [name, await readlink(join(state, "wanted", name))] as const,
      );
      return {
        wanted: Object.fromEntries(await Promise.all(links)),
        spool: await namesIn(join(state, "spool")),
      };
    },
  };
}

/** Returns the commands by which a shell selects `manifest` as `name`. */
export function selecting(name: string, manifest: string, tools: string = TOOLS): string {
  return `. ${HOOK}; _handpick_select ${name} ${manifest} ${tools} || :`;
}

/** Runs a command with this environment only. */
export async function runCommand(
  [program = "", ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Result> {
  const child = spawn(program, args, { env });
  child.stdin.end();
  return await resultOf(child);
}

/** Runs a command on a terminal of its own, as util-linux's script(1) makes it; tells what it shows. */
export async function onTerminal(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const line = command.map((word) => `'${word}'`).join(" ");
  const script = ["script", "--quiet", "--return", "--command", line, "/dev/null"];
  return (await runCommand(script, { ...env, TERM: "xterm", SHELL: "/bin/sh" })).stdout;
}

/** Why there is no full disk to be had. */
export const NO_FULL_DISK = "mount namespaces are not allowed here, so there is no disk to fill";

export interface FullDisk {
  readonly dir: string;
  readonly lacks: "bytes" | "files";
  /** As for `mount -t tmpfs`. @default {"64k"} */
  readonly size?: string;
}

/**
 * Runs a shell script where `dir` is a disk that has no room left for what `lacks` says, except for a
 * file `filler`. Undefined where mount namespaces are not allowed.
 */
export async function onFullDisk(
  { dir, lacks, size = "64k" }: FullDisk,
  script: string,
  env: Readonly<Record<string, string>>,
): Promise<Result | undefined> {
  const [option, fill] = {
    bytes: [`size=${size}`, `cat /dev/zero >${dir}/filler 2>/dev/null`],
    files: ["nr_inodes=2", `: >${dir}/filler`], // the other one is the folder
  }[lacks];
  const prepared = `mount -t tmpfs -o ${option} none ${dir} || exit 42\n${fill}\n${script}`;
  const user = process.getuid?.() === 0 ? [] : ["--map-root-user"];
  const result = await runCommand(["unshare", ...user, "--mount", "sh", "-c", prepared], env);
  return result.status === 42 || result.stderr.startsWith("unshare:") ? undefined : result;
}

function isHere(program: string): boolean {
  return spawnSync(program, [], { input: "" }).error === undefined;
}

async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = await readdir(folder).catch(() => []);
  return names.toSorted();
}
