import assert from "node:assert/strict";
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { ROOT } from "../markdown.ts";
import { createTestNix } from "../nix.ts";
import { sourceTree } from "../sources.ts";
import { CACHE, configuration, moduleRig, needsRig } from "./module-rig.ts";

const home = sourceTree("home-manager");

describe("the modules in a flake", { skip: needsRig, timeout: 120_000 }, () => {
  it("evaluate purely, and select the same as elsewhere", async () => {
    await using nix = await createTestNix();
    await using rig = await moduleRig();
    const flake = join(nix.dir, "flake");
    for (const folder of ["nix", "hook"]) {
      await cp(join(ROOT, folder), join(flake, folder), { recursive: true });
    }
    await cp(join(rig.dir, "rig/nixpkgs"), join(flake, "nixpkgs"), { recursive: true });
    for (const folder of ["lib", "modules"]) {
      const source = join("dir" in home ? home.dir : "", folder);
      await cp(source, join(flake, "home-manager", folder), { recursive: true });
    }
    const system = JSON.parse(
      (await nix.run("nix-instantiate", ["--eval", "-E", "builtins.currentSystem"])).stdout,
    ) as string;
    await writeFile(join(flake, "settings.nix"), configuration(CACHE));
    await writeFile(
      join(flake, "flake.nix"),
      `{
        outputs = { self }:
          let
            pkgs = import ./nixpkgs { system = "${system}"; };
            home-manager = import ./home-manager/lib { inherit (pkgs) lib; };
          in {
            home = home-manager.homeManagerConfiguration {
              inherit pkgs;
              modules = [
                ./nix/modules/home-manager.nix
                ./settings.nix
                {
                  home = { username = "a"; homeDirectory = "/home/a"; stateVersion = "26.05"; enableNixpkgsReleaseCheck = false; };
                }
              ];
            };
          };
      }`,
    );
    const features = [
      "--extra-experimental-features",
      "flakes",
      "--offline",
      "--no-write-lock-file",
    ];
    const wanted = `path:${flake}#home.config.home.activation.handpick.data`;
    const { stdout } = await nix.run("nix", ["eval", ...features, "--raw", wanted]);
    assert.match(stdout, /_handpick_select home-manager \S+-handpick-home-manager\.json /);
    assert.match(stdout, /HANDPICK_STATE_DIR=\/home\/a\/\.local\/state\/handpick/);
  });
});
