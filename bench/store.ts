import { mkdir, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { run } from "./process.ts";
import type { Finished } from "./process.ts";

const CONFIGURATION = [
  "build-users-group =",
  "sandbox = false",
  "substituters =",
  "experimental-features = nix-command",
  "",
].join("\n");

/** A Nix store in a folder of its own, without a daemon, whose paths begin with /nix/store. */
export interface BenchStore {
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Where the files of a path are. */
  physical(path: string): string;
  /** Reads a path once, so that whoever comes first need not read it from the disk. */
  warm(path: string, signal: AbortSignal): Promise<void>;
  /** Runs one of Nix's programs on this store and returns what it printed, trimmed. */
  nix(command: string, args: readonly string[], signal: AbortSignal): Promise<string>;
}

/** Opens the store in `dir`, which is made where it is missing. */
export async function openStore(dir: string): Promise<BenchStore> {
  await mkdir(join(dir, "etc"), { recursive: true });
  // Nix refuses a store behind a symbolic link.
  const real = await realpath(dir);
  const root = join(real, "root");
  await writeFile(join(real, "etc/nix.conf"), CONFIGURATION);
  const home = join(real, "home");
  const env = {
    PATH: process.env["PATH"] ?? "",
    NIX_REMOTE: `local?root=${root}`,
    NIX_CONF_DIR: join(real, "etc"),
    HOME: home,
    XDG_CACHE_HOME: join(home, ".cache"),
    XDG_CONFIG_HOME: join(home, ".config"),
    LC_ALL: "C",
  };
  return {
    dir: real,
    env,
    physical: (path) => join(root, path),
    async warm(path, signal) {
      const script = 'nix-store --dump "$1" > /dev/null';
      await run("sh", ["-c", script, "sh", join(root, path)], { env, cwd: real, signal });
    },
    async nix(command, args, signal) {
      const { stdout }: Finished = await run(command, args, { env, cwd: real, signal });
      return stdout.trim();
    },
  };
}

/** Removes a store; its folders are read-only. */
export async function removeStore(dir: string, signal: AbortSignal): Promise<void> {
  await mkdir(dir, { recursive: true });
  const env = { PATH: process.env["PATH"] ?? "" };
  await run("chmod", ["-R", "u+w", dir], { env, cwd: dir, signal });
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}
