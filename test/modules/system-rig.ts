import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { BUNDLE, type Result } from "../handpick.ts";
import { runCommand } from "../hook/hook-rig.ts";
import { ROOT } from "../markdown.ts";
import { type ModuleRig, modulePath } from "./module-rig.ts";

const PATH = process.env["PATH"] ?? "";
/** Where a service sees it that is let neither into /home nor into /tmp. */
const PROGRAM = "/nix/program";

/** Puts the program into the folder that is to be `/nix`, and tells how it is started there. */
export async function installProgram(store: string): Promise<string> {
  const folder = join(store, "program");
  await mkdir(folder, { recursive: true });
  await cp(process.execPath, join(folder, "node"));
  await cp(dirname(BUNDLE), join(folder, "handpick"), { recursive: true });
  return `${PROGRAM}/node ${PROGRAM}/handpick/handpick.js`;
}

/** Waits until something is so, at most 40 s. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 40_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within 40 s`);
    await sleep(50);
  }
}

/** A system whose process 1 is a systemd with the units of a NixOS configuration. */
export interface SystemRig extends AsyncDisposable {
  /** Runs a command within, as root. */
  run(...command: string[]): Promise<Result>;
}

/** Starts one; `/var/lib` is the folder `var` of the rig. */
export async function startSystem(rig: ModuleRig, module: string): Promise<SystemRig> {
  const store = join(rig.dir, "nix");
  const units = join(rig.dir, "units");
  await buildUnits(rig, { module, units });
  const group = `handpick-${process.pid}-${Date.now()}`;
  const daemon = (await runCommand(["sh", "-c", "command -v nix-daemon"], { PATH })).stdout.trim();
  const script = join(ROOT, "test/modules/system-systemd.sh");
  const namespaces = ["-m", "-p", "-u", "-i", "--fork", "--kill-child", "--mount-proc"];
  const child = spawn(
    "unshare",
    [...namespaces, "sh", script, units, store, join(rig.dir, "var"), daemon, group],
    { env: { PATH }, stdio: ["ignore", "ignore", "inherit"] },
  );
  const ended = once(child, "exit");
  const children = `/proc/${child.pid}/task/${child.pid}/children`;
  const run = async (...command: string[]): Promise<Result> => {
    const pid = (await readFile(children, "utf8")).trim();
    if (pid === "") return { status: -1, stdout: "", stderr: "it is not there yet" };
    const enter = ["nsenter", "-t", pid, "-m", "-p", "-u", "-i", "--", ...command];
    return await runCommand(enter, { PATH });
  };
  const system: SystemRig = {
    run,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
      await removeGroup(group);
    },
  };
  try {
    await until(
      "systemd",
      async () => (await run("systemctl", "is-active", "test.target")).status === 0,
    );
  } catch (error) {
    await system[Symbol.asyncDispose]();
    throw error;
  }
  return system;
}

/** Units and configuration as files; they stand alone, without what else a system starts. */
async function buildUnits(
  rig: ModuleRig,
  { module, units }: { readonly module: string; readonly units: string },
): Promise<void> {
  const { stdout, stderr } = await rig.rigWithStore("nixos", "units", modulePath("nixos"), module);
  const real = (path: string): string => path.trim().replace(/^\/nix/, join(rig.dir, "nix"));
  const { stdout: links } = await runCommand(
    ["readlink", ...["service", "path"].map((kind) => join(real(stdout), `handpick.${kind}`))],
    { PATH },
  );
  await mkdir(units);
  for (const link of links.trim().split("\n")) {
    const text = await readFile(real(link), "utf8").catch(() => {
      throw new Error(`rig nixos units: ${stderr}`);
    });
    const name = link.slice(link.lastIndexOf("-") + 1);
    const alone = text.replace("[Unit]", "[Unit]\nDefaultDependencies=no");
    await writeFile(
      join(units, name),
      alone.replace("/etc/handpick/config.toml", "/run/handpick.toml"),
    );
    const [, config] = /^X-Restart-Triggers=(.*)$/m.exec(text) ?? [];
    if (config !== undefined) {
      await cp(real(config), join(units, "handpick.toml"));
      await chmod(join(units, "handpick.toml"), 0o644);
    }
  }
}

/** The processes in it are gone, at the latest a moment after the first of them. */
async function removeGroup(group: string): Promise<void> {
  const remove = `mount -t cgroup2 none /mnt && find /mnt/${group} -depth -type d -exec rmdir {} +`;
  await until(
    "an empty control group",
    async () => (await runCommand(["unshare", "-m", "sh", "-c", remove], { PATH })).status === 0,
  );
}
