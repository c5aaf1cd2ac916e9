import assert from "node:assert/strict";
import { mkdir, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";

import { parseConfig } from "../../src/config/config.ts";
import { parseManifest } from "../../src/nix/manifest.ts";
import type { Result } from "../handpick.ts";
import { runCommand } from "../hook/hook-rig.ts";
import {
  CACHE,
  configuration,
  type ModuleRig,
  modulePath,
  moduleRig,
  needsRig,
  type Report,
  verify,
} from "./module-rig.ts";

describe("the home-manager module", { skip: needsRig, timeout: 120_000 }, () => {
  let rig: ModuleRig;
  before(async () => {
    rig = await moduleRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  const home = (user: string): string => join(rig.dir, "rig/home", user);
  const state = (user: string, ...names: string[]): string =>
    join(home(user), ".local/state/handpick", ...names);
  const activate = async (user: string, more: string, ...args: string[]): Promise<Result> => {
    const file = await rig.module(configuration(`${CACHE} ${more}`));
    return await rig.rig("hm", "run", modulePath("home-manager"), file, "--user", user, ...args);
  };

  it("leaves word of its packages when everything else is done", async () => {
    const more = `
    caches.agenix = { url = "cachix://other"; tokenFile = "\\\${XDG_RUNTIME_DIR}/agenix/cachix"; };
    selections.some = {
      packages = [ { package = pkgs.multi; outputs = [ "dev" ]; pin = "multi"; } pkgs.hello ];
      caches = [ "mine" ]; exclude = [ "*-doc" ]; closure = "self";
    };`;
    const { status, stderr } = await activate("ann", more);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await readdir(state("ann", "spool")), ["wanted-home-manager"]);
    const manifest = await readlink(state("ann", "wanted/home-manager"));
    const { picks } = parseManifest(await readFile(manifest, "utf8"), {
      storeDir: dirname(manifest),
    });
    assert.deepEqual(
      picks.map(({ name, paths, caches, exclude, closure, pin }) => [
        name,
        paths.length,
        caches,
        exclude,
        closure,
        pin,
      ]),
      [
        ["multi", 3, undefined, [], "runtime", undefined],
        ["multi", 1, ["mine"], ["*-doc"], "self", "multi"],
        ["hello", 1, ["mine"], ["*-doc"], "self", undefined],
      ],
    );
    const config = join(home("ann"), ".config/handpick/config.toml");
    const { caches, rules } = parseConfig(await readFile(config, "utf8"), config, {
      XDG_RUNTIME_DIR: "/run/user/7",
    });
    assert.deepEqual(
      caches.map(({ name, url, tokenFile }) => [name, url, tokenFile]),
      [
        ["agenix", "cachix://other", "/run/user/7/agenix/cachix"],
        ["mine", "cachix://mycache", "/run/secrets/cachix"],
      ],
    );
    assert.equal(rules.onHole, "hold");
  });

  it("takes the text of a package, and names the option that has other text", async () => {
    const text =
      'packages = [ "${pkgs.hello}" { package = "${pkgs.multi.dev}"; caches = [ "mine" ]; } ];';
    const { status, stderr } = await activate("tom", text);
    assert.equal(status, 0, stderr);
    const manifest = await readlink(state("tom", "wanted/home-manager"));
    const { picks } = parseManifest(await readFile(manifest, "utf8"), {
      storeDir: dirname(manifest),
    });
    assert.deepEqual(
      picks.map(({ name, paths }) => [name, paths.length]),
      [
        ["multi", 3],
        ["hello", 1],
        ["multi", 1],
      ],
    );
    const wrong = await activate("tom", 'packages = [ "hello" ];');
    assert.match(wrong.stderr, /services\.handpick\.packages/);
  });

  it("does nothing in a dry run but say so", async () => {
    const { status, stdout, stderr } = await activate("ben", "", "--dry");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^handpick: would select \S+-handpick-home-manager\.json$/m);
    await assert.rejects(readdir(state("ben")), { code: "ENOENT" });
  });

  it("fails no switch, and holds none back, where it can keep no state", async () => {
    await mkdir(dirname(state("cat")), { recursive: true });
    await writeFile(state("cat"), "a file");
    const { status, stderr } = await activate("cat", "");
    assert.equal(status, 0, stderr);
    assert.ok(await readFile(join(home("cat"), ".config/handpick/config.toml"), "utf8"));
    assert.equal(await readFile(state("cat"), "utf8"), "a file");
  });

  it("has units that systemd takes, and one that never fails", async () => {
    const report = await rig.report("hm", configuration(CACHE));
    assert.equal(report.order.at(-1), "handpick");
    assert.deepEqual(report.warnings, []);
    const { services, paths, timers } = report.units;
    const units = {
      "handpick.service": services["handpick"] ?? "",
      "handpick.path": paths["handpick"] ?? "",
      "handpick.timer": timers["handpick"] ?? "",
    };
    assert.equal(await verify(rig, units, "--user"), "");
    assert.match(units["handpick.service"], /^ExecStart=-\S+\/bin\/handpick sync --config /m);
    assert.match(
      units["handpick.path"],
      /^DirectoryNotEmpty=\/\S+\/alice\/\.local\/state\/handpick\/spool$/m,
    );
    assert.doesNotMatch(units["handpick.service"], /network/);
  });

  it("quotes names of folders for the shell and for systemd", async () => {
    const odd = String.raw`xdg.stateHome = "/home/a b/100%'s$1"; xdg.configHome = "/home/a b/c$1";`;
    const text = configuration(CACHE, { system: odd });
    const report = await rig.report("hm", text);
    const { services, paths } = report.units;
    assert.match(
      services["handpick"] ?? "",
      /^Environment="HANDPICK_STATE_DIR=\/home\/a b\/100%%'s\$1\/handpick"$/m,
    );
    assert.match(
      services["handpick"] ?? "",
      / --config "\/home\/a b\/c\$\$1\/handpick\/config.toml"$/m,
    );
    assert.match(
      paths["handpick"] ?? "",
      /^DirectoryNotEmpty=\/home\/a b\/100%%'s\$1\/handpick\/spool$/m,
    );
    assert.equal(report.sessionVariables["HANDPICK_STATE_DIR"], "/home/a b/100%'s$1/handpick");
  });

  it("has an agent on macOS, where activations leave word for launchd", async () => {
    const file = await rig.module(configuration(`${CACHE} interval = 600;`));
    const args = [modulePath("home-manager"), file, "--system", "aarch64-darwin", "--raw"];
    const { stdout, stderr } = await rig.rig("hm", "eval", ...args);
    const report = JSON.parse(stdout || stderr) as Report;
    const entries = ["writeBoundary", "handpickSpool", "setupLaunchAgents", "handpick"];
    assert.deepEqual(
      report.order.filter((name) => entries.includes(name)),
      entries,
    );
    assert.equal(report.order.at(-1), "handpick");
    const agent = report.launchdAgents["handpick"] as Record<string, unknown>;
    assert.deepEqual(agent["QueueDirectories"], [state("alice", "spool")]);
    assert.deepEqual([agent["StartInterval"], agent["RunAtLoad"]], [600, true]);
    assert.equal(report.units.services["handpick"], undefined);
  });

  it("starts syncs by the hook or not at all, if told so", async () => {
    for (const [trigger, expected] of [
      ["detach", /-coreutils\S+ \S+\/bin\/handpick '?\/\S+\/handpick\/config\.toml'? \|\| :/],
      ["none", /-coreutils\S+ \|\| :/],
    ] as const) {
      const file = await rig.module(configuration(`${CACHE} trigger = "${trigger}";`));
      const { stdout } = await rig.rig("hm", "eval", modulePath("home-manager"), file);
      assert.match(stdout, expected);
      assert.doesNotMatch(stdout, /==== systemd/);
    }
  });

  it("refuses what cannot work, with reasons", async () => {
    await writeFile(join(rig.dir, "token"), "secret");
    const wrong = `
      caches = {
        "1" = { url = "cachix://a"; };
        path = { url = "cachix://a"; tokenFile = ./token; };
        page = { url = "https://a.cachix.org"; };
        disk = { url = "file:///srv/cache"; tokenFile = "/t"; host = "http://h"; };
        up = { url = "file:///srv/../x"; };
        server = { url = "attic://h/c"; signingKeyFile = "/k"; dhallFile = "/d"; tokenFile = "/t"; };
        name = { url = "attic://h/c.d"; };
        web = { url = "https://h/nix"; netrcFile = ./token; dhallFile = "/d"; };
        stored = { url = "cachix://a"; signingKeyFile = "\${./token}"; };
      };
      packages = [ { package = pkgs.hello; caches = [ "nowhere" ]; } ];
      selections.some.caches = [ "mined" ];
      selections.folders.caches = [ "file:///srv/cache" "file:///srv/other" ];
      builds.caches = [ "other" ];
      settings.caches.path.dhall-file = ./token;`;
    const file = await rig.module(configuration(wrong));
    const { status, stderr } = await rig.rig("hm", "eval", modulePath("home-manager"), file);
    assert.notEqual(status, 0);
    for (const expected of [
      /the cache services\.handpick\.caches\."1": expected a name/,
      /caches\.path\.tokenFile: expected a file outside of the Nix store, found a path literal/,
      /settings\.caches\.path\.dhall-file: expected a file outside .*, found a path literal/,
      /caches\.page\.url: expected cachix:\/\/NAME, .* found "https:\/\/a\.cachix\.org"/,
      /caches\.up\.url: expected .* or file:\/\/\/DIR, .* found "file:\/\/\/srv\/\.\.\/x"/,
      /caches\.disk\.tokenFile: a cache of file:\/\/\/DIR takes none/,
      /caches\.disk\.host: a cache of file:\/\/\/DIR takes none/,
      /caches\.server\.signingKeyFile: a cache of attic:\/\/SERVER\/CACHE takes none/,
      /caches\.server\.dhallFile: a cache of attic:\/\/SERVER\/CACHE takes none/,
      /caches\.name\.url: expected .* attic:\/\/SERVER\/CACHE, .* found "attic:\/\/h\/c\.d"/,
      /caches\.web\.dhallFile: a cache of http\(s\):\/\/HOST\/DIR takes none/,
      /caches\.web\.netrcFile: expected a file outside of the Nix store, found a path literal/,
      /selections\.folders\.caches: expected .* found "file:\/\/\/srv\/other"/,
      /caches\.stored\.signingKeyFile: expected a file outside of the Nix store, found one below/,
      /packages\[1\]\.caches: expected 1, disk, name, page, path, server, stored, up, web or cachix:\/\/NAME, found "nowhere"/,
      /selections\.some\.caches: .* found "mined"/,
      /builds\.caches: expected 1, disk, name, page, path, server, stored, up, web, found "other"/,
    ]) {
      assert.match(stderr, expected);
    }
    assert.doesNotMatch(stderr, /found "file:\/\/\/srv\/cache"/);
    const none = await rig.rig(
      "hm",
      "eval",
      modulePath("home-manager"),
      await rig.module(configuration()),
    );
    assert.match(none.stderr, /expected a cache in services\.handpick\.caches, found none/);
  });
});

describe(
  "the module for those who come from bash modules",
  { skip: needsRig, timeout: 120_000 },
  () => {
    it("pushes cachix_packages, and takes no secret into the store", async () => {
      await using rig = await moduleRig();
      const secret = `secret-${"0".repeat(16)}`;
      const dhall = join(rig.dir, "cachix.dhall");
      await writeFile(dhall, `{ authToken = "${secret}" }`);
      for (const [name, value] of [
        ["literal", "./cachix.dhall"],
        ["string", JSON.stringify(dhall)],
      ]) {
        const settings = `{ pkgs, ... }: {
        cachix_packages = [ pkgs.hello ];
        cachix_name = "mycache";
        cachix_dhall = ${value};
        services.handpick.package = pkgs.writeShellScriptBin "handpick" "true";
      }`;
        const module = modulePath("from-bash-modules");
        const args = [module, await rig.module(settings), "--user", name ?? ""];
        const { status, stderr } = await rig.rig("hm", "run", ...args);
        assert.equal(status, 0, stderr);
        const home = join(rig.dir, "rig/home", name ?? "");
        const config = join(home, ".config/handpick/config.toml");
        const { caches } = parseConfig(await readFile(config, "utf8"), config);
        assert.deepEqual(
          caches.map(({ name, url, clientFile }) => [name, url, clientFile]),
          [["mycache", "cachix://mycache", dhall]],
        );
        const manifest = await readFile(
          join(home, ".local/state/handpick/wanted/home-manager"),
          "utf8",
        );
        assert.match(manifest, /"caches":\["mycache"\].*-hello-/);
      }
      const { stdout } = await runCommand(["grep", "-rlF", secret, join(rig.dir, "rig")], {
        PATH: process.env["PATH"] ?? "",
      });
      assert.equal(stdout, "");
    });

    it("wants the name of a cache, and works in NixOS as well", async () => {
      await using rig = await moduleRig();
      const settings = (more: string): string => `{ pkgs, ... }: {
      cachix_packages = [ pkgs.hello ]; ${more}
      services.handpick.package = pkgs.writeShellScriptBin "handpick" "true";
    }`;
      const nameless = rig.report("nixos", settings(""), "from-bash-modules");
      await assert.rejects(nameless, /expected the name of a cache in cachix_name, found none/);
      const named = 'cachix_name = "mycache"; cachix_dhall = "/root/cachix.dhall";';
      const { units } = await rig.report("nixos", settings(named), "from-bash-modules");
      assert.match(
        units.services["handpick"] ?? "",
        /^LoadCredential=cachix\.dhall@mycache:\/root\/cachix\.dhall$/m,
      );
    });
  },
);
