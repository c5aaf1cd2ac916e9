import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Result } from "../handpick.ts";
import { runCommand } from "../hook/hook-rig.ts";
import {
  CACHE,
  configuration,
  type ModuleRig,
  modulePath,
  moduleRig,
  needsRig,
  verify,
} from "./module-rig.ts";

describe("the NixOS module", { skip: needsRig, timeout: 120_000 }, () => {
  let rig: ModuleRig;
  before(async () => {
    rig = await moduleRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  it("has units that systemd takes, which a switch starts and does not wait for", async () => {
    const { units, warnings } = await rig.report("nixos", configuration(CACHE));
    assert.deepEqual(warnings, []);
    const service = units.services["handpick"] ?? "";
    const told = await verify(rig, {
      "handpick.service": service,
      "handpick.path": units.paths["handpick"] ?? "",
      "handpick.timer": units.timers["handpick"] ?? "",
    });
    assert.equal(told.replaceAll(/^.*X-NixOS-Wants.*\n/gm, ""), "");
    assert.match(service, /^Type=exec$/m);
    assert.match(
      service,
      /^ExecStart=-\S+\/bin\/handpick sync --config \/etc\/handpick\/config\.toml$/m,
    );
    assert.match(service, /^WantedBy=multi-user\.target$/m);
    assert.doesNotMatch(service, /network|MemoryDenyWriteExecute/);
  });

  it("has another unit for another selection or configuration", async () => {
    const service = async (more: string): Promise<string> =>
      (await rig.report("nixos", configuration(`${CACHE} ${more}`))).units.services["handpick"] ??
      "";
    const first = await service("");
    assert.equal(await service(""), first);
    assert.notEqual(await service("packages = [ pkgs.hello ];"), first);
    assert.notEqual(await service('rules.exclude = [ "*-doc" ];'), first);
  });

  it("hands secrets to the service, with something in place of those that are not there", async () => {
    const cache = `caches.mine = {
      url = "cachix://mycache"; tokenFile = "/run/100%"; signingKeyFile = "/run/key"; dhallFile = "/run/d";
    };
    caches.web = { url = "https://h/nix"; netrcFile = "/run/n"; };`;
    const { units } = await rig.report("nixos", configuration(cache));
    const lines = (units.services["handpick"] ?? "")
      .split("\n")
      .filter((line) => line.includes("Credential"));
    assert.deepEqual(lines, [
      "LoadCredential=mine:/run/100%%",
      "LoadCredential=cachix.dhall@mine:/run/d",
      "LoadCredential=signing-key@mine:/run/key",
      "LoadCredential=netrc@web:/run/n",
      String.raw`SetCredential=mine:\n`,
      String.raw`SetCredential=cachix.dhall@mine:\n`,
      String.raw`SetCredential=signing-key@mine:\n`,
      String.raw`SetCredential=netrc@web:\n`,
    ]);
  });

  it("lets the service write to the folders of its caches, for others to read", async () => {
    const lines = async (caches: string): Promise<string[]> =>
      ((await rig.report("nixos", configuration(caches))).units.services["handpick"] ?? "")
        .split("\n")
        .filter((line) => /^(?:UMask|ReadWritePaths)=/.test(line))
        .toSorted();
    assert.deepEqual(await lines(CACHE), ["UMask=0077"]);
    assert.deepEqual(await lines('caches.disk.url = "file:///srv/my-cache";'), [
      "ReadWritePaths=-/srv/my-cache",
      "UMask=0022",
    ]);
    const strange = configuration('caches.disk.url = "file:///srv/a%20b";');
    await assert.rejects(rig.report("nixos", strange), /expected a folder of letters, .*a%20b/);
  });

  it("installs the post-build hook, unless there is another one", async () => {
    const hook = `${CACHE} postBuildHook.enable = true;`;
    const { nixSettings } = await rig.report("nixos", configuration(hook));
    assert.match(String(nixSettings["post-build-hook"]), /\/post-build-hook$/);
    const other = configuration(hook, { system: 'nix.settings.post-build-hook = "/other";' });
    await assert.rejects(
      rig.report("nixos", other),
      /Nix has one post-build-hook, and it is \/other/,
    );
    const options = configuration(hook, { system: 'nix.extraOptions = "post-build-hook = /x";' });
    await assert.rejects(rig.report("nixos", options), /nix\.extraOptions sets a post-build-hook/);
  });

  it("tells what cannot work", async () => {
    const closed = configuration(CACHE, { system: 'nix.settings.allowed-users = [ "@wheel" ];' });
    await assert.rejects(
      rig.report("nixos", closed),
      /in nix\.settings\.allowed-users, found \["@wheel"\]; add "handpick" there/,
    );
    const homely = configuration('caches.mine = { url = "cachix://a"; tokenFile = "~/token"; };');
    await assert.rejects(
      rig.report("nixos", homely),
      /expected the full name of a file, found "~\/token"/,
    );
    for (const url of ["cachix://a", "attic://h/c"]) {
      const { warnings } = await rig.report("nixos", configuration(`caches.mine.url = "${url}";`));
      assert.match(warnings.join("\n"), /caches\.mine has no token/);
    }
  });

  it("is not imported by home-manager", async () => {
    const wrong = rig.report("hm", configuration(CACHE), "nixos");
    await assert.rejects(wrong, /nixos/);
  });

  it("leaves word in an activation script, if told so, but not at boot or in a dry run", async () => {
    const system = 'system.activationScripts.specialfs = "";';
    const settings = configuration(`${CACHE} trigger = "activation";`, { system });
    const module = await rig.module(settings);
    const state = join(rig.dir, "var/handpick");
    await mkdir(join(rig.dir, "var"));
    const run = async (...args: string[]): Promise<Result> => {
      const script = 'mount --bind "$1" /var/lib && shift && exec "$@"';
      const inside = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        join(rig.dir, "var"),
      ];
      const found = rig.command("nixos", "run", modulePath("nixos"), module, ...args);
      return await runCommand([...inside, ...found.command], found.env);
    };
    for (const args of [[], ["--dry"], ["--env", "NIXOS_ACTION=boot"]]) {
      const { status, stderr } = await run(...args);
      assert.equal(status, 0, stderr);
      await assert.rejects(readdir(state), { code: "ENOENT" }, args.join(" "));
    }
    const { status, stderr } = await run("--env", "NIXOS_ACTION=switch");
    assert.equal(status, 0, stderr);
    assert.deepEqual(await readdir(join(state, "spool")), ["wanted-nixos"]);
    const { units } = await rig.report("nixos", settings);
    assert.doesNotMatch(units.services["handpick"] ?? "", /ExecStartPre|multi-user/);
  });
});
