import assert from "node:assert/strict";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rmdir,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Status } from "../../src/sync/status.ts";
import { handpick, isServed, type ServeRig, startServe } from "../handpick.ts";
import { runCommand } from "../hook/hook-rig.ts";
import { createTestNix } from "../nix.ts";
import {
  configuration,
  type ModuleRig,
  modulePath,
  moduleRig,
  needsSystemd,
} from "./module-rig.ts";
import { installProgram, startSystem, until } from "./system-rig.ts";

const PATH = process.env["PATH"] ?? "";

/** A cache that a configuration of the rig is to push to. */
async function served(serve: ServeRig, rig: ModuleRig, more = ""): Promise<string> {
  const program = await installProgram(join(rig.dir, "nix"));
  const tokenFile = join(rig.dir, "token");
  await writeFile(tokenFile, serve.token, { mode: 0o600 });
  const cache = { url: "cachix://mine", host: serve.url, tokenFile };
  const pairs = Object.entries(cache).map(([name, value]) => `${name} = ${JSON.stringify(value)};`);
  return await rig.module(
    configuration(`caches.mine = { ${pairs.join(" ")} }; ${more}`, { program }),
  );
}

/** Waits until the outputs of the package that is wanted are in the cache. */
async function arrived(serve: ServeRig, rig: ModuleRig): Promise<void> {
  const store = await readdir(join(rig.dir, "nix/store"));
  const names = store.filter((name) => /-multi-1\.0(-dev|-man)?$/.test(name));
  assert.equal(names.length, 3);
  await until("what was selected is in the cache", async () => {
    for (const name of names) if (!(await isServed(serve, name))) return false;
    return true;
  });
}

describe("the modules at work", { skip: needsSystemd, timeout: 120_000 }, () => {
  /** Only a place to mount on: a machine whose Nix was never used has none. */
  let made: string | undefined;
  before(async () => {
    made = await mkdir("/nix", { recursive: true });
  });
  after(async () => {
    if (made !== undefined) await rmdir(made);
  });

  it("home-manager: a switch leaves word, which starts the sync of the user's manager", async () => {
    await using nix = await createTestNix();
    await using serve = await startServe(nix, { uncovered: true });
    await using rig = await moduleRig();
    const module = await served(serve, rig);
    const gate = join(rig.dir, "gate");
    await runCommand(["mkfifo", gate], { PATH });
    const spool = join(rig.dir, "rig/home/dan/.local/state/handpick/spool");
    const after = [
      `timeout 60 cat ${gate} >/dev/null`,
      "systemctl --user start handpick.service", // which waits for one that runs
      "systemctl --user is-active handpick.path handpick.timer",
      "systemctl --user is-failed handpick.service",
      `ls ${spool}`,
    ];
    const args = [modulePath("home-manager"), module, "--user", "dan", "--systemd"];
    const running = rig.rigWithStore("hm", "run", ...args, "--", after.join("; "));
    try {
      await until(
        "the link",
        async () => (await readdir(join(spool, "../wanted")).catch(() => [])).length > 0,
      );
      await arrived(serve, rig);
    } finally {
      await writeFile(gate, "");
    }
    const { status, stdout, stderr } = await running;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /\nactive\nactive\ninactive\n$/);
  });

  it("home-manager: where no service manager is, a switch starts a sync and does not wait", async () => {
    await using nix = await createTestNix();
    await using serve = await startServe(nix, { uncovered: true });
    await using rig = await moduleRig();
    const module = await served(serve, rig, 'trigger = "detach";');
    const args = [modulePath("home-manager"), module, "--user", "eve"];
    const { status, stderr } = await rig.rigWithStore("hm", "run", ...args);
    assert.equal(status, 0, stderr);
    await arrived(serve, rig);
    const env = { HANDPICK_STATE_DIR: join(rig.dir, "rig/home/eve/.local/state/handpick") };
    await until("its end", async () => {
      const { stdout } = await handpick(nix, ["status", "--json"], { env, uncovered: true });
      return (JSON.parse(stdout) as Status).lastSync?.endedAt !== undefined;
    });
  });

  it("NixOS: hooks of root start the service, and it is let to what it needs", async () => {
    await using nix = await createTestNix();
    await using serve = await startServe(nix, { uncovered: true });
    await using rig = await moduleRig();
    const token = join(rig.dir, "token");
    const module = await served(serve, rig);
    await rename(token, `${token}-later`);
    // A hook was here before the service ever was.
    const state = join(rig.dir, "var/handpick");
    await mkdir(join(state, "spool"), { recursive: true });
    await mkdir(join(state, "wanted"));
    for (const folder of [state, join(state, "spool"), join(state, "wanted")])
      await chmod(folder, 0o700);
    await writeFile(join(state, "spool/wanted-nixos"), "");
    await using system = await startSystem(rig, module);
    const asRoot = (command: string): ReturnType<typeof system.run> => {
      const environment = ["env", "HANDPICK_STATE_DIR=/var/lib/handpick"];
      const program = ["/nix/program/node", "/nix/program/handpick/handpick.js", command];
      return system.run(...environment, ...program);
    };
    const status = async (): Promise<string> => (await asRoot("status")).stdout;
    const isIdle = async (): Promise<boolean> =>
      (await system.run("systemctl", "is-active", "handpick.service")).stdout === "inactive\n";

    await until("the first sync", async () => /TOKEN_MISSING/.test(await status()));
    await until("its end", isIdle);
    assert.match(await status(), /token of cache "mine" from file \S+\/token: it does not exist/);
    assert.equal((await system.run("systemctl", "is-failed", "handpick.service")).status, 1);
    assert.equal((await system.run("systemctl", "start", "handpick.service")).status, 0);
    await until("its end", isIdle);

    const private_ = join(rig.dir, "var/private/handpick");
    assert.equal(await readlink(state), "private/handpick");
    assert.notEqual((await stat(private_)).uid, 0);
    const { status: code, stderr } = await asRoot("sync");
    assert.equal(code, 2, "root does not work in the folder of the service");
    assert.match(
      stderr,
      /FILE_UNUSABLE\]\n {2}Run systemctl start handpick, which works there as its owner/,
    );
    await rename(`${token}-later`, token);
    assert.match(await status(), /^to do: handpick doctor mine && systemctl start handpick$/m);
    assert.equal((await system.run("systemctl", "start", "handpick.service")).status, 0);
    await arrived(serve, rig);
    await until("its end", isIdle);
    assert.match(await status(), /^mine: 3 pushed$/m);
    assert.deepEqual(await readdir(join(private_, "spool")), []);
    assert.equal((await system.run("systemctl", "is-active", "handpick.path")).stdout, "active\n");
    assert.match(
      await readFile(join(rig.dir, "units/handpick.service"), "utf8"),
      /^DynamicUser=true$/m,
    );
  });
});
