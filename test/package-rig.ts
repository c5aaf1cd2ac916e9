import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, realpath, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { readProject, ROOT } from "./markdown.ts";
import type { TestNix } from "./nix.ts";

const { packages: LOCKED } = JSON.parse(await readProject("package-lock.json")) as {
  packages: Record<string, { version: string }>;
};
const VALIBOT = LOCKED["node_modules/valibot"] ?? assert.fail("valibot is not locked");

export interface ToyOptions {
  /** @default {"test/toy-pkgs.nix"} */
  readonly file?: string;
  /** More arguments, as Nix code. */
  readonly more?: string;
  /** @default {that of this machine} */
  readonly system?: string;
}

/** A Nix expression for toy nixpkgs whose esbuild, Node and npm are those of this machine. */
export async function toyPackages(
  nix: TestNix,
  { file = `${ROOT}test/toy-pkgs.nix`, more = "", system }: ToyOptions = {},
): Promise<string> {
  const { stdout: bash } = await nix.run("sh", ["-c", "command -v bash"]);
  const { stdout: npm } = await nix.run("sh", ["-c", "command -v npm || :"]);
  const given = {
    system: system ?? (await systemOf(nix)),
    bash: bash.trim(),
    node: process.execPath,
    npm: npm === "" ? "" : await realpath(npm.trim()),
    esbuild: await realpath(join(ROOT, "node_modules/esbuild/bin/esbuild")),
    certificates: CERTIFICATES,
  };
  const pairs = Object.entries(given).map(([name, value]) => `${name} = "${value}";`);
  return `import ${file} { ${pairs.join(" ")} ${more} }`;
}

/** The certificates of the machine: there may be a mirror or a proxy between it and the registry. */
const CERTIFICATES =
  ["NODE_EXTRA_CA_CERTS", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE"]
    .map((name) => process.env[name] ?? "")
    .find((file) => existsSync(file)) ?? "/etc/ssl/certs/ca-certificates.crt";

/** The variables that Nix passes on to builders that download. */
export function networkEnvironment(): Record<string, string> {
  const { stdout } = spawnSync("npm", ["config", "get", "registry"], { encoding: "utf8" });
  const passed = Object.entries(process.env).filter(([name]) => /^\w+_proxy$/i.test(name));
  return { ...(Object.fromEntries(passed) as {}), npm_config_registry: stdout.trim() };
}

/** Why nothing can be downloaded here, or `false`. */
export function whyNoRegistry(): string | false {
  const { version } = VALIBOT;
  const { error, status, stderr } = spawnSync("npm", ["view", `valibot@${version}`, "version"], {
    encoding: "utf8",
    timeout: 30_000,
  });
  if (status === 0) return false;
  return `npm reaches no registry: ${error?.message ?? stderr.split("\n")[0] ?? ""}`;
}

export const FLAKES: readonly string[] = ["--extra-experimental-features", "flakes", "--offline"];

export interface Flake {
  readonly project: string;
  /** A toy nixpkgs, with and without flakes. */
  readonly toy: string;
  /** For a command of Nix, to evaluate it with toy packages. */
  readonly options: readonly string[];
}

/** Puts what the flake has into a folder of the test, and beside it a toy nixpkgs of all systems. */
export async function copyFlake(nix: TestNix): Promise<Flake> {
  const project = join(nix.dir, "project");
  const files = [
    "flake.nix",
    "flake.lock",
    "default.nix",
    "nix",
    "hook",
    "scripts",
    "src",
    "templates",
  ];
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
  await writeFile(
    join(toy, "default.nix"),
    `_: ${await toyPackages(nix, { file: "./toy-pkgs.nix" })}`,
  );
  return { project, toy, options: [...FLAKES, ...input] };
}

export async function systemOf(nix: TestNix): Promise<string> {
  const args = ["--eval", "-E", "builtins.currentSystem"];
  return JSON.parse((await nix.run("nix-instantiate", args)).stdout) as string;
}
