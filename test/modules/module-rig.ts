import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import type { Result } from "../handpick.ts";
import { runCommand } from "../hook/hook-rig.ts";
import { ROOT } from "../markdown.ts";
import { sourceTree } from "../sources.ts";
import { type TempDir, tempDir } from "../temp.ts";

/** The rig evaluates, builds and runs modules with other projects as they are. */
const RIG = resolve(ROOT, process.env["HANDPICK_TEST_RIG"] ?? "../shared/nix-rig", "rig");
const home = sourceTree("home-manager");
const lib = sourceTree("nixpkgs-lib");
const darwin = sourceTree("nix-darwin");
const droid = sourceTree("nix-on-droid");

/** Why the modules cannot be tried here, or `false`. */
export const needsRig: string | false = whyNoRig();

/** Why nothing can be run beside a systemd of its own, or `false`. */
export const needsSystemd: string | false = needsRig || whyNoSystemd();

function whyNoRig(): string | false {
  if (!existsSync(RIG))
    return `there is no ${RIG}: name the folder of the rig in HANDPICK_TEST_RIG`;
  if (process.getuid?.() !== 0) return "the rig needs root";
  if (process.env["HANDPICK_TEST_MATRIX"] !== undefined)
    return "modules are tried outside of the Nix matrix";
  for (const source of [home, lib, darwin, droid]) if ("skip" in source) return source.skip;
  return false;
}

function whyNoSystemd(): string | false {
  if (!existsSync("/lib/systemd/systemd")) return "systemd is not installed";
  const probe = "mount -t cgroup2 none /mnt && mount -t tmpfs none /mnt";
  const { status } = spawnSync("unshare", [
    "-m",
    "-p",
    "--fork",
    "--mount-proc",
    "sh",
    "-c",
    probe,
  ]);
  return status === 0 ? false : "namespaces or cgroups cannot be mounted here";
}

export interface ModuleRig extends TempDir {
  /** Folders by the names of arguments in `systems.nix`. */
  readonly folders: Readonly<Record<string, string>>;
  /** Returns `rig ARGS` as a command with its environment. */
  command(...args: string[]): RigCommand;
  /** Runs it. */
  rig(...args: string[]): Promise<Result>;
  /** The same where `/nix` is a store of the test's own. */
  rigWithStore(...args: string[]): Promise<Result>;
  /** The report of `rig SYSTEM eval` for our module and this configuration. */
  report(system: string, settings: string, module?: string): Promise<Report>;
  /** Writes a module and returns its file. */
  module(text: string): Promise<string>;
}

export interface RigCommand {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** As much as tests ask of what the rig reports. */
export interface Report {
  readonly order: readonly string[];
  readonly script: string;
  readonly warnings: readonly string[];
  readonly units: Readonly<
    Record<"services" | "paths" | "timers", Readonly<Record<string, string>>>
  >;
  readonly files: Readonly<Record<string, string>>;
  readonly nixSettings: Readonly<Record<string, unknown>>;
  readonly sessionVariables: Readonly<Record<string, string>>;
  readonly launchd: { readonly daemons: Readonly<Record<string, unknown>> };
  readonly launchdAgents: Readonly<Record<string, unknown>>;
  readonly failedAssertions: readonly string[];
}

export const modulePath = (name: string): string => join(ROOT, "nix/modules", `${name}.nix`);

const MODULES: Readonly<Record<string, string>> = {
  hm: "home-manager",
  nixos: "nixos",
  darwin: "nix-darwin",
};

export async function moduleRig(): Promise<ModuleRig> {
  const temp = await tempDir();
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: temp.dir,
    TMPDIR: temp.dir,
    RIG_WORK: join(temp.dir, "rig"),
  };
  const command = (...args: string[]): RigCommand => ({ command: [RIG, ...args], env });
  const rig = (...args: string[]): Promise<Result> => runCommand([RIG, ...args], env);
  const folder = (tree: typeof home): string => ("dir" in tree ? tree.dir : "");
  const folders = {
    rig: dirname(RIG),
    nixpkgs: join(temp.dir, "rig/nixpkgs"),
    homeManager: folder(home),
    nixDarwin: folder(darwin),
    nixOnDroid: folder(droid),
  };
  const { homeManager, nixDarwin } = folders;
  const trees = { "--home-manager": homeManager, "--nix-darwin": nixDarwin, "--lib": folder(lib) };
  const sources = Object.entries(trees).flat();
  const ready = await rig("setup", ...sources);
  if (ready.status !== 0) throw new Error(`rig setup: ${ready.stderr}`);
  const store = join(temp.dir, "nix");
  await runCommand(["mkdir", store], env);
  let modules = 0;
  const module = async (text: string): Promise<string> => {
    const file = join(temp.dir, `module-${++modules}.nix`);
    await writeFile(file, text);
    return file;
  };
  return {
    ...temp,
    folders,
    command,
    rig,
    rigWithStore: (...args) => {
      const script = 'mount --bind "$1" /nix && shift && exec "$@"';
      const inside = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", store];
      return runCommand([...inside, RIG, ...args], { ...env, RIG_SYSTEM_STORE: "1" });
    },
    report: async (system, settings, name = MODULES[system] ?? "") => {
      const args = [modulePath(name), await module(settings)];
      const told = await rig(system, "eval", ...args, "--raw");
      if (told.status !== 0) throw new Error(told.stderr);
      return JSON.parse(told.stdout) as Report;
    },
    module,
  };
}

/** A configuration of ours with a package, and more options of ours and of the system, as Nix code. */
export function configuration(
  more = "",
  { program = "true", system = "" }: { readonly program?: string; readonly system?: string } = {},
): string {
  return `{ lib, pkgs, ... }: {
    ${system}
    services.handpick = lib.mkMerge [
      {
        enable = true;
        package = pkgs.writeShellScriptBin "handpick" ${JSON.stringify(`exec ${program} "$@"`)};
        packages = [ pkgs.multi ];
      }
      { ${more} }
    ];
  }`;
}

/** Options for a cache. */
export const CACHE = `caches.mine = { url = "cachix://mycache"; tokenFile = "/run/secrets/cachix"; };`;

/** Returns the words of `systemd-analyze verify` about units, which are given by file name. */
export async function verify(
  { dir }: TempDir,
  units: Readonly<Record<string, string>>,
  ...options: string[]
): Promise<string> {
  const files: string[] = [];
  for (const [name, text] of Object.entries(units)) {
    const file = join(dir, name);
    await writeFile(file, text);
    files.push(file);
  }
  const command = ["systemd-analyze", "verify", "--recursive-errors=no", ...options, ...files];
  const { stdout, stderr } = await runCommand(command, {
    PATH: process.env["PATH"] ?? "",
    XDG_RUNTIME_DIR: dir,
  });
  return `${stdout}${stderr}`;
}
