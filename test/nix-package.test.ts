import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, realpath, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";

import { BUNDLE } from "./handpick.ts";
import { readProject, ROOT } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";

const LIBRARY = [
  "cachixPackages",
  "manifest",
  "postBuildHook",
  "shell",
  "shellHook",
  "shellHookFile",
];

/** Toy nixpkgs whose esbuild, Node and npm packages are those of this project. */
async function toyPackages(
  nix: TestNix,
  file: string = `${ROOT}test/toy-pkgs.nix`,
): Promise<string> {
  const { stdout: bash } = await nix.run("sh", ["-c", "command -v bash"]);
  const given = {
    system: await systemOf(nix),
    bash: bash.trim(),
    node: process.execPath,
    npmPackages: await realpath(join(ROOT, "node_modules")),
  };
  const pairs = Object.entries(given).map(([name, value]) => `${name} = "${value}";`);
  return `import ${file} { ${pairs.join(" ")} }`;
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
const isTriedElsewhere =
  process.env["HANDPICK_TEST_MATRIX"] !== undefined && "it is built outside of the Nix matrix";

describe("default.nix", { timeout: 120_000 }, () => {
  const title = "has the program, bundled as the build of this project bundles it";
  it(title, { skip: isTriedElsewhere }, async () => {
    await using nix = await createTestNix();
    const file = join(nix.dir, "default.nix");
    await writeFile(file, `import ${ROOT}default.nix { pkgs = ${await toyPackages(nix)}; }`);
    const built = await nix.run("nix-build", [file, "-A", "handpick", "--no-out-link"]);
    const out = built.stdout.trim();

    const bundled = await bundleIn(join(out, "lib/handpick"));
    assert.deepEqual(bundled, await bundleIn(dirname(BUNDLE)));

    const { version } = JSON.parse(await readProject("package.json")) as { version: string };
    const program = join(out, "bin/handpick");
    const env = { NODE_OPTIONS: "--require /nowhere", PATH: "" };
    const printed = await nix.run(program, ["--version"], { env });
    assert.equal(printed.stdout, `${version}\n`);
    const help = await nix.run(program, ["--help"], { env });
    assert.match(help.stdout, /^Usage: handpick /);
  });

  it("has the library", async () => {
    await using nix = await createTestNix();
    const expression = `builtins.attrNames (import ${ROOT}default.nix { pkgs = { }; }).lib`;
    const { stdout } = await nix.run("nix-instantiate", ["--eval", "--strict", "-E", expression]);
    assert.equal(stdout, `[ ${LIBRARY.map((name) => JSON.stringify(name)).join(" ")} ]\n`);
  });
});

describe("flake.nix", { timeout: 120_000 }, () => {
  it("has the program, an overlay with it, the library, modules and templates", async () => {
    await using nix = await createTestNix();
    const project = join(nix.dir, "project");
    const files = ["flake.nix", "default.nix", "nix", "hook", "src", "templates", "package.json"];
    for (const file of [...files, "package-lock.json", "tsconfig.json"]) {
      await cp(join(ROOT, file), join(project, file), { recursive: true });
    }
    const toy = join(nix.dir, "nixpkgs");
    await mkdir(toy);
    await cp(join(ROOT, "test/toy-pkgs.nix"), join(toy, "toy-pkgs.nix"));
    const system = await systemOf(nix);
    const packages = await toyPackages(nix, "./toy-pkgs.nix");
    await writeFile(
      join(toy, "flake.nix"),
      `{ outputs = _: { legacyPackages."${system}" = ${packages}; }; }`,
    );
    const evaluate = async (attribute: string, apply: string): Promise<string> => {
      const flake = ["--extra-experimental-features", "flakes", "--offline"];
      const input = ["--override-input", "nixpkgs", `path:${toy}`, "--no-write-lock-file"];
      const wanted = [`path:${project}#${attribute}`, "--apply", apply];
      return (await nix.run("nix", ["eval", ...flake, ...input, ...wanted, "--raw"])).stdout;
    };
    const derivation = await evaluate(`packages.${system}.default`, "p: p.drvPath");
    assert.match(derivation, /-handpick-[\d.]+\.drv$/);
    assert.equal(await evaluate(`packages.${system}.handpick`, "p: p.drvPath"), derivation);
    const modules = 'm: builtins.concatStringsSep " " (map toString (builtins.attrValues m))';
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
});

async function systemOf(nix: TestNix): Promise<string> {
  const args = ["--eval", "-E", "builtins.currentSystem"];
  return JSON.parse((await nix.run("nix-instantiate", args)).stdout) as string;
}
