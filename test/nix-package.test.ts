import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";
import { readProject, ROOT } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";
import { nodeModulesHash } from "./node-modules-hash.ts";
import {
  copyFlake,
  type Flake,
  FLAKES,
  networkEnvironment,
  systemOf,
  toyPackages,
  whyNoRegistry,
} from "./package-rig.ts";
import { assertKeepsOut } from "./start-script.ts";

const LIBRARY = [
  "cachixPackages",
  "manifest",
  "postBuildHook",
  "shell",
  "shellHook",
  "shellHookFile",
];

/** The files of a bundle, without the hashes in names: they depend on where node_modules is. */
async function bundleIn(folder: string): Promise<string[]> {
  const neutral = (text: string): string => text.replaceAll(/chunk-[A-Z0-9]{8}/g, "chunk");
  const files = (await readdir(folder)).map(
    async (name) => `${neutral(name)}\n${neutral(await readFile(join(folder, name), "utf8"))}`,
  );
  return (await Promise.all(files)).toSorted((a, b) => (a < b ? -1 : 1));
}

/** Left out of the matrix: every Nix builds the same, and it takes a while. */
const skip =
  process.env["HANDPICK_TEST_MATRIX"] === undefined
    ? whyNoRegistry()
    : "it is built outside of the Nix matrix";

describe("default.nix", { timeout: 300_000 }, () => {
  const title =
    "has the program, of npm's packages, bundled as the build of this project bundles it";
  it(title, { skip }, async () => {
    await using nix = await createTestNix();
    const file = join(nix.dir, "default.nix");
    await writeFile(file, `import ${ROOT}default.nix { pkgs = ${await toyPackages(nix)}; }`);
    const build = ["-A", "handpick", "--no-out-link", "-j4"];
    const built = await nix.run("nix-build", [file, ...build], { env: networkEnvironment() });
    const out = built.stdout.trim();

    const bundled = await bundleIn(join(out, "lib/handpick"));
    assert.deepEqual(bundled, await bundleIn(dirname(BUNDLE)));

    const { version } = JSON.parse(await readProject("package.json")) as { version: string };
    const program = join(out, "bin/handpick");
    const printed = await nix.run(program, ["--version"], { env: { PATH: "" } });
    assert.equal(printed.stdout, `${version}\n`);
    await assertKeepsOut(nix, program, { PATH: "" });
  });

  it("has the hash of the packages that are installed here", async () => {
    await using nix = await createTestNix();
    const wanted = await nodeModulesHash(nix);
    const [, found] = /outputHash = "([^"]*)"/.exec(await readProject("nix/package.nix")) ?? [];
    assert.equal(found, wanted);
  });

  it("downloads with the certificates of nixpkgs: a builder has none", { skip }, async () => {
    await using nix = await createTestNix();
    const file = join(nix.dir, "default.nix");
    const more = 'certificates = "/dev/null";';
    const packages = (await toyPackages(nix)).replace(/certificates = "[^"]*";/, more);
    await writeFile(file, `import ${ROOT}default.nix { pkgs = ${packages}; }`);
    const { status, stderr } = await nix.run("nix-build", [file, "-A", "handpick"], {
      env: networkEnvironment(),
      allowFailure: true,
    });
    assert.notEqual(status, 0);
    assert.match(stderr, /SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER_CERT/);
  });

  it("takes the newest Node that will do, and refuses a nixpkgs that has none", async () => {
    await using nix = await createTestNix();
    const file = join(nix.dir, "default.nix");
    const nodesOf = async (more: string): Promise<string | string[]> => {
      const packages = await toyPackages(nix, { more });
      await writeFile(file, `import ${ROOT}default.nix { pkgs = ${packages}; }`);
      const made = await nix.run("nix-instantiate", [file, "-A", "handpick"], {
        allowFailure: true,
      });
      if (made.status !== 0) return made.stderr;
      const { stdout } = await nix.run("nix-store", ["-qR", made.stdout.trim()]);
      return stdout.match(/(?<=-node-)[\d.]+(?=\.drv$)/gm)?.toSorted() ?? [];
    };
    for (const [more, expected] of [
      ['nodes = { nodejs_24 = "24.15.0"; };', ["24.15.0"]],
      ['nodes = { nodejs_24 = "24.14.0"; nodejs_26 = "26.1.0"; };', ["26.1.0"]],
      ['nodes = { nodejs_24 = "24.18.0"; nodejs_25 = null; nodejs_26 = null; };', ["24.18.0"]],
      ['nodes = { nodejs_24 = "24.9.0"; nodejs-slim_24 = "24.21.0"; };', ["24.21.0", "24.9.0"]],
      ['nodes = { nodejs = "28.0.0"; nodejs-slim_24 = "24.21.0"; };', ["28.0.0"]],
      [
        'nodes = { nodejs_24 = "24.18.0"; nodejs_25 = "25.9.0"; }; insecure = [ "nodejs_25" ];',
        ["24.18.0"],
      ],
    ] as const) {
      assert.deepEqual(await nodesOf(more), expected, more);
    }
    for (const [more, found] of [
      ['nodes = { nodejs_24 = "24.14.1"; nodejs_22 = "22.20.0"; };', "24.14.1"],
      ["nodes = { nodejs_24 = null; };", "none"],
    ] as const) {
      const stderr = String(await nodesOf(more));
      assert.ok(stderr.includes(`a nixpkgs with Node 24.15 or newer, found ${found};`), stderr);
    }
  });

  it("has the library", async () => {
    await using nix = await createTestNix();
    const expression = `builtins.attrNames (import ${ROOT}default.nix { pkgs = { }; }).lib`;
    const { stdout } = await nix.run("nix-instantiate", ["--eval", "--strict", "-E", expression]);
    assert.equal(stdout, `[ ${LIBRARY.map((name) => JSON.stringify(name)).join(" ")} ]\n`);
  });
});

describe("flake.nix", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let flake: Flake;
  before(async () => {
    nix = await createTestNix();
    flake = await copyFlake(nix);
  });
  after(() => nix[Symbol.asyncDispose]());

  it("has the program, an overlay with it, the library, modules and templates", async () => {
    const system = await systemOf(nix);
    const evaluate = async (attribute: string, apply: string): Promise<string> => {
      const wanted = [`path:${flake.project}#${attribute}`, "--apply", apply, "--raw"];
      return (await nix.run("nix", ["eval", ...flake.options, ...wanted])).stdout;
    };
    const derivation = await evaluate(`packages.${system}.default`, "p: p.drvPath");
    assert.match(derivation, /-handpick-[\d.]+\.drv$/);
    assert.equal(await evaluate(`packages.${system}.handpick`, "p: p.drvPath"), derivation);
    const modules =
      'm: builtins.concatStringsSep " " (map (x: toString x.imports) (builtins.attrValues m))';
    for (const [name, file] of [
      ["homeModules", "home-manager"],
      ["homeManagerModules", "home-manager"],
      ["nixosModules", "nixos"],
      ["darwinModules", "nix-darwin"],
    ] as const) {
      const found = await evaluate(name, modules);
      assert.match(found, new RegExp(`^(\\S+/nix/modules/${file}\\.nix ?){2}$`), name);
    }
    assert.equal(await evaluate(`checks.${system}.handpick`, "p: p.drvPath"), derivation);
    const paths =
      't: builtins.concatStringsSep " " (map (x: toString x.path) (builtins.attrValues t))';
    for (const path of (await evaluate("templates", paths)).split(" ")) {
      await nix.run("nix-instantiate", ["--parse", join(path, "flake.nix")]);
    }
    const names = 'l: builtins.concatStringsSep " " (builtins.attrNames l)';
    assert.equal(await evaluate(`lib.${system}`, names), LIBRARY.join(" "));
    const overlay = `o: (${names}) (o { } { })`;
    assert.equal(await evaluate("overlays.default", overlay), "handpick");
  });

  it("passes nix flake check", async () => {
    const check = ["flake", "check", "--no-build", ...flake.options];
    await nix.run("nix", [...check, `path:${flake.project}`]);
  });

  it("is locked to a nixpkgs of summer 2026 or later, which its input names", async () => {
    const metadata = ["flake", "metadata", "--json", "--no-update-lock-file", ...FLAKES];
    const told = await nix.run("nix", [...metadata, `path:${flake.project}`]);
    const { locks } = JSON.parse(told.stdout) as {
      locks: { nodes: { nixpkgs: { locked: Record<string, unknown> } } };
    };
    const { narHash, rev, lastModified } = locks.nodes.nixpkgs.locked;
    assert.match(String(narHash), /^sha256-.{44}$/);
    assert.match(String(rev), /^[0-9a-f]{40}$/);
    assert.ok(Number(lastModified) * 1000 > Date.parse("2026-06-01"));
  });
});
