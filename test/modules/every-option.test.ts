import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parse } from "smol-toml";

import { type Option, type OptionLists, optionsExpression } from "../../scripts/options-page.ts";
import { KINDS } from "../../src/cache/kinds.ts";
import { parseConfig } from "../../src/config/config.ts";
import { type Manifest, parseManifest } from "../../src/nix/manifest.ts";
import { codeBlocks, readProject, ROOT, sections } from "../markdown.ts";
import { type ModuleRig, modulePath, moduleRig, needsRig } from "./module-rig.ts";

/** Each system with the class of its modules, and the name of ours for it. */
const SYSTEMS = [
  { system: "home-manager", kind: "homeManager", ours: "home-manager" },
  { system: "nix-on-droid", kind: "homeManager", ours: "home-manager" },
  { system: "NixOS", kind: "nixos", ours: "NixOS" },
  { system: "nix-darwin", kind: "darwin", ours: "nix-darwin" },
] as const;
type System = (typeof SYSTEMS)[number]["system"];
type Modules = Readonly<Record<(typeof SYSTEMS)[number]["kind"], readonly string[]>>;

const PROGRAM = 'pkgs.writeShellScriptBin "handpick" "true"';
/** Packages that examples name. */
const TOYS = "ripgrep = real.hello; my-neovim = real.multi; gcc = real.multi;";

/** Gives each option the value of its example, and `trigger` that one. */
function everyOption(options: readonly Option[], trigger: string): string {
  const values = options.map(({ name, example }) => {
    const value = name.endsWith(".package")
      ? PROGRAM
      : name.endsWith(".trigger")
        ? JSON.stringify(trigger)
        : (example ?? assert.fail(`${name} has no example`));
    return `{ ${name.replace("<name>", cacheOf(name))} = ${value}; }`;
  });
  for (const { scheme, example } of KINDS) {
    values.push(`{ services.handpick.caches.${scheme}.url = ${JSON.stringify(example)}; }`);
  }
  return `{ lib, pkgs, ... }:
    let real = pkgs; in let pkgs = real // { ${TOYS} }; in lib.mkMerge [ ${values.join("\n")} ]`;
}

/** The cache that gets an option of caches: one of the first kind that takes it. */
function cacheOf(option: string): string {
  const key = kebab(option.split(".").at(-1) ?? "");
  return KINDS.find(({ keys }) => (keys as ReadonlySet<string>).has(key))?.scheme ?? "mine";
}

/** Puts the name of an option as the configuration file spells it: `maxNarSize` as `max-nar-size`. */
function keysOf(name: string): string[] {
  return name.replace("<name>", cacheOf(name)).split(".").slice(2).map(kebab);
}

function kebab(word: string): string {
  return word.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

interface Made {
  readonly failed: readonly string[];
  readonly config: string;
  readonly manifest: Manifest;
}

/** Evaluates modules in one system, and builds the files they make. */
async function make(rig: ModuleRig, system: System, modules: Modules): Promise<Made> {
  const lists = Object.entries(modules).map(([kind, files]) => `${kind} = [ ${files.join(" ")} ];`);
  const folders = Object.entries(rig.folders).map(([name, dir]) => `${name} = ${dir};`);
  const file = join(rig.dir, "systems.nix");
  const given = `${folders.join(" ")} modules = { ${lists.join(" ")} };`;
  await writeFile(file, `import ${join(ROOT, "test/modules/systems.nix")} { ${given} }`);
  const nix = async (...command: string[]): Promise<string> => {
    const { status, stdout, stderr } = await rig.rig("nix", ...command);
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const attribute = (name: string): string[] => ["-A", `${system}.${name}`, file];
  const told = await nix("nix-instantiate", "--eval", "--strict", "--json", ...attribute("report"));
  const { failed } = JSON.parse(JSON.parse(told) as string) as Made;
  const build = ["nix-build", "--no-out-link", "-Q"];
  const config = (await nix(...build, ...attribute("configFile"))).trim();
  const manifest = (await nix(...build, ...attribute("manifest"))).trim();
  return {
    failed,
    config: await readFile(config, "utf8"),
    manifest: parseManifest(await readFile(manifest, "utf8"), { storeDir: dirname(manifest) }),
  };
}

describe("every option of the modules", { skip: needsRig, timeout: 120_000 }, () => {
  let rig: ModuleRig;
  let lists: OptionLists;
  before(async () => {
    rig = await moduleRig();
    const evaluate = ["nix", "nix-instantiate", "--eval", "--strict", "--json", "-E"];
    const told = await rig.rig(...evaluate, optionsExpression(join(rig.dir, "rig/nixpkgs")));
    lists = JSON.parse(told.stdout) as OptionLists;
  });
  after(() => rig[Symbol.asyncDispose]());

  for (const { system, kind, ours } of SYSTEMS) {
    it(`works in ${system} with the value of its example, and reaches the configuration`, async () => {
      const options = lists[ours] ?? [];
      const triggers = options.find(({ name }) => name.endsWith(".trigger"))?.type ?? "";
      for (const [, trigger = ""] of triggers.matchAll(/"(\w+)"/g)) {
        const settings = await rig.module(everyOption(options, trigger));
        const file = modulePath(ours === "NixOS" ? "nixos" : ours);
        const modules = { homeManager: [], nixos: [], darwin: [], [kind]: [file, settings] };
        const { failed, config, manifest } = await make(rig, system, modules);
        assert.deepEqual(failed, [], trigger);
        assert.ok(manifest.picks.length > 3);
        parseConfig(config, "/c.toml");
        for (const { name } of options.filter(isWritten)) assertHas(parse(config), keysOf(name));
      }
    });
  }
});

/** Tells the options of the program's configuration from those of a module itself. */
function isWritten({ name }: Option): boolean {
  return /^services\.handpick\.(?:caches\.|rules\.|builds\.)/.test(name);
}

function assertHas(table: unknown, keys: readonly string[]): void {
  let found: unknown = table;
  for (const key of keys) found = (found as Record<string, unknown> | undefined)?.[key];
  assert.notEqual(found, undefined, `${keys.join(".")} in ${JSON.stringify(table)}`);
}

describe("the three lines of README.md", { skip: needsRig, timeout: 120_000 }, () => {
  let rig: ModuleRig;
  before(async () => {
    rig = await moduleRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  for (const { system, kind, ours } of SYSTEMS) {
    it(`do in ${system}`, async () => {
      const install = sections(await readProject("README.md"), 2).get("Install") ?? "";
      const [lines = ""] = codeBlocks(install, "nix");
      assert.equal(lines.trim().split("\n").length, 3);
      const program = `services.handpick.package = ${PROGRAM};`;
      const settings = await rig.module(`{ pkgs, ... }: { ${lines} ${program} }`);
      const file = modulePath(ours === "NixOS" ? "nixos" : ours);
      const modules = { homeManager: [], nixos: [], darwin: [], [kind]: [file, settings] };
      const { failed, config, manifest } = await make(rig, system, modules);
      assert.deepEqual(failed, []);
      assert.equal(parseConfig(config, "/c.toml").caches[0]?.url, "cachix://mycache");
      assert.deepEqual(
        manifest.picks.map(({ name }) => name),
        ["hello"],
      );
    });
  }
});

describe("every option of the bash modules", { skip: needsRig, timeout: 120_000 }, () => {
  let rig: ModuleRig;
  before(async () => {
    rig = await moduleRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  for (const { system, kind } of SYSTEMS) {
    it(`works in ${system}`, async () => {
      const settings = await rig.module(`{ pkgs, ... }: {
        cachix_packages = [ pkgs.hello pkgs.multi ];
        cachix_name = "mycache";
        cachix_dhall = "/secrets/cachix.dhall";
        services.handpick.package = ${PROGRAM};
      }`);
      const file = modulePath("from-bash-modules");
      const modules = { homeManager: [], nixos: [], darwin: [], [kind]: [file, settings] };
      const { failed, config, manifest } = await make(rig, system, modules);
      assert.deepEqual(failed, []);
      assert.deepEqual(
        parseConfig(config, "/c.toml").caches.map(({ url, clientFile }) => [url, clientFile]),
        [["cachix://mycache", "/secrets/cachix.dhall"]],
      );
      assert.deepEqual(
        manifest.picks.map(({ name, caches }) => [name, caches]),
        ["hello", "multi"].map((name) => [name, ["mycache"]]),
      );
    });
  }

  it("name home-manager.config to who imports them into nix-on-droid itself", async () => {
    const module = modulePath("from-bash-modules");
    const expression = `with import ${rig.folders["nixpkgs"]} { }; (lib.evalModules {
      class = "nixOnDroid"; modules = [ ${module} ];
    }).config`;
    const { stderr } = await rig.rig("nix", "nix-instantiate", "--eval", "-E", expression);
    assert.match(stderr, /found those of nixOnDroid; import it in home-manager\.config/);
  });
});
