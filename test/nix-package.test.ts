import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, realpath, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";
import { readProject, ROOT } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";
import { assertKeepsOut } from "./start-script.ts";

const { packages: LOCKED } = JSON.parse(await readProject("package-lock.json")) as {
  packages: Record<string, { version: string }>;
};
const VALIBOT = LOCKED["node_modules/valibot"] ?? assert.fail("valibot is not locked");

const LIBRARY = [
  "cachixPackages",
  "manifest",
  "postBuildHook",
  "shell",
  "shellHook",
  "shellHookFile",
];

/** Toy nixpkgs whose esbuild, Node and npm are those of this machine. */
async function toyPackages(
  nix: TestNix,
  { file = `${ROOT}test/toy-pkgs.nix`, more = "", system = "" } = {},
): Promise<string> {
  const { stdout: bash } = await nix.run("sh", ["-c", "command -v bash"]);
  const { stdout: npm } = await nix.run("sh", ["-c", "command -v npm || :"]);
  const given = {
    system: system || (await systemOf(nix)),
    bash: bash.trim(),
    node: process.execPath,
    npm: npm === "" ? "" : await realpath(npm.trim()),
    esbuild: await realpath(join(ROOT, "node_modules/esbuild/bin/esbuild")),
    certificates: CERTIFICATES,
  };
  const pairs = Object.entries(given).map(([name, value]) => `${name} = "${value}";`);
  return `import ${file} { ${pairs.join(" ")} ${more} }`;
}

/** What the machine trusts: there may be a mirror or a proxy between it and the registry. */
const CERTIFICATES =
  ["NODE_EXTRA_CA_CERTS", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE"]
    .map((name) => process.env[name] ?? "")
    .find((file) => existsSync(file)) ?? "/etc/ssl/certs/ca-certificates.crt";

/** What Nix takes from its environment for builders that download. */
function networkEnvironment(): Record<string, string> {
  const { stdout } = spawnSync("npm", ["config", "get", "registry"], { encoding: "utf8" });
  const passed = Object.entries(process.env).filter(([name]) => /^\w+_proxy$/i.test(name));
  return { ...(Object.fromEntries(passed) as {}), npm_config_registry: stdout.trim() };
}

/** Why nothing can be downloaded here, or `false`. */
function whyNoRegistry(): string | false {
  const { version } = VALIBOT;
  const { error, status, stderr } = spawnSync("npm", ["view", `valibot@${version}`, "version"], {
    encoding: "utf8",
    timeout: 30_000,
  });
  if (status === 0) return false;
  return `npm reaches no registry: ${error?.message ?? stderr.split("\n")[0] ?? ""}`;
}

/** The files of a bundle, without the hashes in names: they depend on where node_modules is. */
async function bundleIn(folder: string): Promise<string[]> {
  const neutral = (text: string): string => text.replaceAll(/chunk-[A-Z0-9]{8}/g, "chunk");
  const files = (await readdir(folder)).map(
    async (name) => `${neutral(name)}\n${neutral(await readFile(join(folder, name), "utf8"))}`,
  );
  return (await Promise.all(files)).toSorted((a, b) => (a < b ? -1 : 1));
}

/** What is built is the same with every Nix, and takes a while. */
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

const FLAKES = ["--extra-experimental-features", "flakes", "--offline"];

interface Flake {
  readonly project: string;
  /** For a command of Nix, to evaluate it with toy packages. */
  readonly options: readonly string[];
}

/** Puts what the flake has into a folder of the test, and beside it a toy nixpkgs of all systems. */
async function copyFlake(nix: TestNix): Promise<Flake> {
  const project = join(nix.dir, "project");
  const files = ["flake.nix", "flake.lock", "default.nix", "nix", "hook", "src", "templates"];
  for (const file of [...files, "package.json", "package-lock.json", "tsconfig.json"]) {
    await cp(join(ROOT, file), join(project, file), { recursive: true });
  }
  const toy = join(nix.dir, "nixpkgs");
  await mkdir(toy);
  await cp(join(ROOT, "test/toy-pkgs.nix"), join(toy, "toy-pkgs.nix"));
  const systems = ["x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin"];
  const packages = systems.map(
    async (system) =>
      `"${system}" = ${await toyPackages(nix, { file: "./toy-pkgs.nix", system })};`,
  );
  const text = (await Promise.all(packages)).join(" ");
  await writeFile(join(toy, "flake.nix"), `{ outputs = _: { legacyPackages = { ${text} }; }; }`);
  const input = ["--override-input", "nixpkgs", `path:${toy}`, "--no-write-lock-file"];
  return { project, options: [...FLAKES, ...input] };
}

async function systemOf(nix: TestNix): Promise<string> {
  const args = ["--eval", "-E", "builtins.currentSystem"];
  return JSON.parse((await nix.run("nix-instantiate", args)).stdout) as string;
}
