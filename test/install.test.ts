import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { codeBlocks, readProject, ROOT, sections } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";
import { copyFlake, networkEnvironment, whyNoRegistry } from "./package-rig.ts";
import { tempDir } from "./temp.ts";
import { runCommand } from "./hook/hook-rig.ts";

const ADDRESS = "github:OWNER/handpick";
const TARBALL = "https://github.com/OWNER/handpick/archive/main.tar.gz";

const install = sections(await readProject("README.md"), 2).get("Install") ?? "";
const { version } = JSON.parse(await readProject("package.json")) as { version: string };

const SETTINGS = "experimental-features = nix-command flakes\nmax-jobs = 4";

/** Left out of the matrix: every Nix builds the same, and it takes a while. */
const skip =
  process.env["HANDPICK_TEST_MATRIX"] === undefined
    ? whyNoRegistry()
    : "it is built outside of the Nix matrix";

describe("the commands that install handpick, by README.md", { skip, timeout: 300_000 }, () => {
  let nix: TestNix;
  let env: Readonly<Record<string, string>>;
  /** Replaces the placeholders by addresses of a copy that has the toy nixpkgs. */
  let here: (commands: string) => string;
  const profile = (): string => join(nix.dir, "home/.nix-profile");

  before(async () => {
    nix = await createTestNix();
    const { project, toy } = await copyFlake(nix);
    const flake = await readFile(join(project, "flake.nix"), "utf8");
    const input = 'inputs.nixpkgs.url = "';
    assert.ok(flake.includes(input));
    const toyInput = flake.replace(new RegExp(`${input}[^"]*`), `${input}path:${toy}`);
    await writeFile(join(project, "flake.nix"), toyInput);
    await rm(join(project, "flake.lock"));
    const files: Record<string, string> = { project, nixpkgs: toy };
    for (const [name, dir] of Object.entries(files)) {
      const archive = join(nix.dir, `${name}.tar.gz`);
      await nix.run("tar", [
        "-czf",
        archive,
        "--transform",
        `s,^[.],${name}-main,`,
        "-C",
        dir,
        ".",
      ]);
    }
    await nix.run("nix-channel", ["--add", `file://${nix.dir}/nixpkgs.tar.gz`, "nixpkgs"]);
    here = (commands) =>
      commands
        .replaceAll(ADDRESS, `path:${project}`)
        .replaceAll(TARBALL, `file://${nix.dir}/project.tar.gz`);
    env = { ...networkEnvironment(), NIX_CONFIG: SETTINGS };
  });
  after(() => nix[Symbol.asyncDispose]());

  const blocks = codeBlocks(install, "sh");
  it("are in two blocks, with flakes and without", () => {
    assert.equal(blocks.length, 2);
    for (const block of blocks) assert.match(block, /OWNER/);
  });

  for (const block of blocks) {
    it(`work with a stand-in for nixpkgs, and leave a program: ${block.split("\n")[0]}`, async () => {
      // nix-env does not touch a profile of nix profile.
      await rm(profile(), { force: true });
      await rm(join(nix.stateDir, "profiles"), { recursive: true, force: true });
      await nix.run("sh", ["-eux", "-c", here(block)], { env });
      const told = await nix.run(join(profile(), "bin/handpick"), ["--version"]);
      assert.equal(told.stdout, `${version}\n`);
    });
  }
});

describe("npins", () => {
  const reason = "npins is not installed: its command in README.md is not run";
  it("adds handpick", { skip: reason }, () => undefined);
});

describe("CONTRIBUTING.md", () => {
  it("has commands that install a checkout", async () => {
    await using temp = await tempDir();
    const text = await readProject("CONTRIBUTING.md");
    const [block = ""] = codeBlocks(sections(text, 2).get("From a checkout") ?? "", "sh");
    const [build, ...commands] = block.split("\n");
    assert.equal(build, "npm run build"); // as before all tests in this folder
    await mkdir(join(temp.dir, "checkout"));
    for (const name of ["bin", "dist", "node_modules"]) {
      await symlink(join(ROOT, name), join(temp.dir, "checkout", name));
    }
    const command = ["sh", "-euc", `cd "$HOME/checkout"\n${commands.join("\n")}`];
    const PATH = `${temp.dir}/.local/bin:/usr/bin:/bin`;
    const told = await runCommand(command, { PATH, HOME: temp.dir });
    assert.deepEqual([told.stdout, told.stderr], [`${version}\n`, ""]);
  });
});

describe("the address of the repository", () => {
  it("is one placeholder, which README.md explains", async () => {
    const documents = [
      "README.md",
      "CONTRIBUTING.md",
      "ARCHITECTURE.md",
      ...(await readdir(join(ROOT, "docs"))).map((name) => `docs/${name}`),
      ...(await readdir(join(ROOT, "templates"))).map((name) => `templates/${name}/flake.nix`),
    ];
    const explained: string[] = [];
    for (const name of documents) {
      const text = await readProject(name);
      const bare = text.replaceAll(ADDRESS, "").replaceAll(TARBALL, "");
      assert.doesNotMatch(bare.replace("npins add github OWNER handpick", ""), /OWNER/, name);
      for (const [, url] of text.matchAll(/handpick\.url = "([^"]*)"/g)) {
        assert.equal(url, ADDRESS, name);
      }
      if (text.includes(`\`${ADDRESS}\` stands for`)) explained.push(name);
    }
    assert.deepEqual(explained, ["README.md"]);
  });
});
