import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { stripVTControlCharacters } from "node:util";

import { cacheUrlFault } from "../src/cache/cache-url.ts";
import { type Manifest, parseManifest } from "../src/nix/manifest.ts";
import { handpick, isServed, startServe } from "./handpick.ts";
import { codeBlocks, readProject, ROOT } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";

/** A file with the library, toy packages and an expression that uses both. */
async function expression(nix: TestNix, text: string): Promise<string> {
  const file = join(nix.dir, "default.nix");
  const bindings = [
    `pkgs = import ${ROOT}test/toy-pkgs.nix { bash = "${await bashOf(nix)}"; };`,
    `handpick = import ${ROOT}nix/lib.nix { inherit pkgs; };`,
  ];
  await writeFile(file, `let ${bindings.join("\n")} in ${text}`);
  return file;
}

async function bashOf(nix: TestNix): Promise<string> {
  return (await nix.run("sh", ["-c", "command -v bash"])).stdout.trim();
}

/** Builds an expression of {@link expression} and returns the link to it. */
async function build(nix: TestNix, text: string): Promise<string> {
  await nix.run("nix-build", [await expression(nix, text), "-o", "result"]);
  return join(nix.dir, "result");
}

async function manifestOf(nix: TestNix, text: string): Promise<Manifest> {
  const file = await build(nix, text);
  return parseManifest(await readFile(file, "utf8"), { storeDir: nix.storeDir });
}

describe("manifest of nix/lib.nix", { timeout: 120_000 }, () => {
  it("names all outputs of each package, or what the entry says", async () => {
    await using nix = await createTestNix();
    const manifest = await manifestOf(
      nix,
      `handpick.manifest {
        name = "mine";
        caches = [ "mine" "cachix://ours" ];
        exclude = [ "*-doc" ];
        packages = with pkgs; [
          words
          { package = words; outputs = [ "doc" ]; name = "doc"; caches = [ "theirs" ]; exclude = [ ]; }
          (words.doc // { outputSpecified = true; })
          { package = greet; closure = "self"; pin = "greet"; }
          "\${words.doc}"
          { package = "\${greet}"; pin = "greet"; }
        ];
      }`,
    );
    const picks = manifest.picks.map((pick) => ({
      ...pick,
      paths: pick.paths.map((path) => basename(path).slice(33)),
    }));
    const usual = { closure: "runtime", caches: ["mine", "cachix://ours"], exclude: ["*-doc"] };
    assert.equal(manifest.name, "mine");
    assert.deepEqual(picks, [
      { ...usual, name: "words", paths: ["words-1.0", "words-1.0-doc"], pin: undefined },
      {
        name: "doc",
        paths: ["words-1.0-doc"],
        closure: "runtime",
        caches: ["theirs"],
        exclude: [],
        pin: undefined,
      },
      { ...usual, name: "words", paths: ["words-1.0-doc"], pin: undefined },
      { ...usual, name: "greet", paths: ["greet-1.0"], closure: "self", pin: "greet" },
      { ...usual, name: "words", paths: ["words-1.0-doc"], pin: undefined },
      { ...usual, name: "greet", paths: ["greet-1.0"], pin: "greet" },
    ]);
  });

  it("says where the caches of a selection are optional", async () => {
    await using nix = await createTestNix();
    const optional = `handpick.manifest { name = "m"; packages = [ pkgs.words ]; optional = true; }`;
    assert.equal((await manifestOf(nix, optional)).picks[0]?.isOptional, true);
  });

  it("has the packages built, and keeps them from being collected", async () => {
    await using nix = await createTestNix();
    const { picks } = await manifestOf(
      nix,
      `handpick.manifest { name = "m"; packages = [ pkgs.words ]; }`,
    );
    await nix.run("nix-store", ["--gc"]);
    const paths = picks.flatMap((pick) => pick.paths);
    assert.equal(paths.length, 2);
    await nix.run("nix-store", ["--check-validity", ...paths]);
  });

  it("refuses at evaluation what the program would refuse", async () => {
    await using nix = await createTestNix();
    const wrong = [
      [`name = "../m"; packages = [ ];`, 'name: expected up to 64 .*, found "../m"'],
      [
        `name = "m"; packages = [ "/nix/store" ];`,
        'packages: expected a package .* found "/nix/store"',
      ],
      [`name = "m"; packages = [ "\${pkgs.words}/x" ];`, 'expected a package .* found "/.*/x"'],
      [`name = "m"; packages = [ 1 ];`, "packages: expected a package .* found a int"],
      [`name = "m"; packages = [ { package = pkgs.words; pins = 1; } ];`, "argument '?pins"],
      [`name = "m"; packages = [ pkgs.words ]; closure = "all";`, 'closure: .* found "all"'],
      [`name = "m"; packages = [ pkgs.words ]; cache = "ftp://x";`, "caches: expected .*://x"],
      [
        `name = "m"; packages = [ pkgs.words ]; cache = "https://x.cachix.org";`,
        "HOST/DIR, .*found",
      ],
      [`name = "m"; packages = [ pkgs.words ]; cache = "https://u:p@x";`, "HOST/DIR, .*found"],
      [
        `name = "m"; packages = [ pkgs.words ]; cache = "file://x";`,
        "file:///DIR .*, found .*://x",
      ],
      [`name = "m"; packages = [ pkgs.words ]; cache = "file:///a/../b";`, "file:///DIR .*, found"],
      [
        `name = "m"; packages = [ pkgs.words ]; cache = "attic://x";`,
        "attic://SERVER/CACHE.*, .*found",
      ],
      [`packages = [ pkgs.words ]; trigger = "x";`, 'trigger: .* found "x"', "shellHookFile"],
      [`packages = [ pkgs.words ];`, "expected cache or caches, found neither", "cachixPackages"],
    ] as const;
    for (const [text, message, name = "manifest"] of wrong) {
      const file = await expression(nix, `handpick.${name} { ${text} }`);
      const result = await nix.run("nix-instantiate", [file], { allowFailure: true });
      assert.notEqual(result.status, 0, text);
      assert.match(stripVTControlCharacters(result.stderr), new RegExp(message));
    }
  });

  it("takes the URL of any kind for a cache", async () => {
    await using nix = await createTestNix();
    const caches = [
      "mine",
      "cachix://mine",
      "file:///srv/a%20b/c++",
      "file:///srv/",
      "attic://h.x:80/a_b+c",
      "attic://[::1]/c/",
      "http://[::1]:8080",
      "https://cache.example.org/nix/a%20b@c/",
      "s3://b.c-d",
      "s3://bucket?region=eu-west-1&endpoint=h:1&profile=a%20b&prefix=x/y",
    ];
    const text = `handpick.manifest { name = "m"; packages = [ pkgs.words ]; caches = builtins.fromJSON ''${JSON.stringify(caches)}''; }`;
    const { picks } = await manifestOf(nix, text);
    assert.deepEqual(picks[0]?.caches, caches);
    for (const url of caches.slice(1)) assert.equal(cacheUrlFault(url), undefined);
  });

  it("is pushed by its link: what it names and needs, and nothing else", async () => {
    await using nix = await createTestNix({ root: true });
    await using serve = await startServe(nix);
    await nix.run("nix-build", [await expression(nix, "pkgs.diary"), "--no-out-link"]);
    const packages = `{ caches = [ "cachix://mine" ]; packages = [ pkgs.greet ]; }`;
    await build(nix, `handpick.cachixPackages ${packages}`);
    const pushed = await handpick(nix, ["push", "./result"]);
    assert.equal(pushed.status, 0, pushed.stderr);
    const there: string[] = [];
    for (const name of await readdir(join(nix.dir, "root/nix/store"))) {
      if (/^\w{32}-/.test(name) && (await isServed(serve, name))) there.push(name.slice(33));
    }
    assert.deepEqual(
      there.toSorted((a, b) => a.localeCompare(b)),
      ["greet-1.0", "words-1.0"],
    );
  });
});

describe("postBuildHook of nix/lib.nix", { timeout: 120_000 }, () => {
  it("spools what is built, such as a manifest", async () => {
    await using nix = await createTestNix();
    const state = join(nix.dir, "state");
    const picks = `handpick.cachixPackages { cache = "mine"; packages = [ pkgs.diary ]; }`;
    const file = await expression(nix, `{ hook = handpick.postBuildHook; picks = ${picks}; }`);
    const told = ["--eval", "--strict", "--json", "--read-write-mode", file, "-A", "hook"];
    const hook = JSON.parse((await nix.run("nix-instantiate", told)).stdout) as string;
    assert.ok(hook.startsWith(nix.storeDir), hook);
    const options = ["--no-out-link", "--option", "post-build-hook", hook];
    await nix.run("nix-build", [file, "-A", "picks", ...options], {
      env: { HANDPICK_STATE_DIR: state },
    });
    const events = await readdir(join(state, "spool"));
    const texts = events.map((name) => readFile(join(state, "spool", name), "utf8"));
    const derivations = (await Promise.all(texts)).map((text) => text.split("\n")[0] ?? "");
    const names = derivations.map((path) => basename(path).slice(33));
    assert.ok(names.includes("diary-1.0.drv"), names.join(" "));
    assert.ok(names.includes("handpick-cachix-packages.json.drv"), names.join(" "));
  });
});

describe("the documents about nix/lib.nix", () => {
  it("have examples that Nix can read", async () => {
    await using nix = await createTestNix();
    const pages = ["nix-shell", "direnv", "post-build-hook"].map((name) =>
      readProject(`docs/${name}.md`),
    );
    const examples = (await Promise.all(pages)).flatMap((page) => codeBlocks(page, "nix"));
    assert.ok(examples.length > 2);
    for (const text of examples) {
      const bound = `{ pkgs, handpick, toolchain }: ${text}`;
      await nix.run("nix-instantiate", ["--parse", "-E", bound]);
    }
  });
});

describe("shellHook of nix/lib.nix", { timeout: 120_000 }, () => {
  it("starts the program that it was given, one on PATH, or none", async () => {
    await using nix = await createTestNix();
    const words = `packages = [ pkgs.words ];`;
    const given = `import ${ROOT}nix/lib.nix { inherit pkgs; handpick = pkgs.greet; }`;
    const texts = [
      [`(${given}).shellHook { ${words} }`, / \/\S+-greet-1\.0\/bin\/handpick \|\| :/],
      [`handpick.shellHook { ${words} }`, /\/bin handpick \|\| :/],
      [`handpick.shellHook { ${words} trigger = "none"; }`, /coreutils\/bin +\|\| :/],
    ] as const;
    for (const [text, expected] of texts) {
      const told = ["--eval", "--strict", "--json", "--read-write-mode"];
      const { stdout } = await nix.run("nix-instantiate", [...told, await expression(nix, text)]);
      assert.match(JSON.parse(stdout) as string, expected);
    }
  });
});

const SELECTION = `{ name = "project"; cache = "mine"; packages = [ pkgs.words ]; }`;
const NAMELESS = `{ packages = [ pkgs.greet ]; }`;

describe("shells of nix/lib.nix", { timeout: 120_000 }, () => {
  for (const options of [[], ["--pure", "--keep", "HANDPICK_STATE_DIR"]]) {
    it(`select their packages in ${["nix-shell", ...options].join(" ")}`, async () => {
      await using nix = await createTestNix();
      const state = join(nix.dir, "state");
      const shell = await expression(
        nix,
        `pkgs.mkShellNoCC {
          inputsFrom = [ (handpick.shell ${NAMELESS}) ];
          shellHook = handpick.shellHook ${SELECTION};
        }`,
      );
      const env = { NIX_BUILD_SHELL: await bashOf(nix), HANDPICK_STATE_DIR: state };
      const command = "echo inside; declare -F; exit 7";
      const enter = async (): Promise<void> => {
        const args = [shell, ...options, "--run", command];
        const result = await nix.run("nix-shell", args, { env, allowFailure: true });
        assert.match(result.stdout, /^inside\n/);
        assert.doesNotMatch(result.stdout, /handpick/, "no function is left");
        assert.equal(result.status, 7, result.stderr);
      };
      await enter();
      const names = (await readdir(join(state, "wanted"))).toSorted((a, b) => a.localeCompare(b));
      assert.match(names.join(" "), /^project shell-[0-9a-f]{16}$/);
      const markers = (await readdir(join(state, "spool"))).toSorted((a, b) => a.localeCompare(b));
      assert.deepEqual(
        markers,
        names.map((name) => `wanted-${name}`),
      );
      const manifest = await readlink(join(state, "wanted/project"));
      const { picks } = parseManifest(await readFile(manifest, "utf8"), nix);
      assert.deepEqual(picks[0]?.caches, ["mine"]);
      await nix.run("nix-store", ["--check-validity", ...picks.flatMap((pick) => pick.paths)]);

      await rm(join(state, "spool"), { recursive: true });
      await mkdir(join(state, "spool"));
      await enter();
      assert.deepEqual(await readdir(join(state, "spool")), []);
    });
  }

  it("work in a flake, which is evaluated purely, and in nix develop", async () => {
    await using nix = await createTestNix();
    const flake = join(nix.dir, "flake");
    const bash = await bashOf(nix);
    const { stdout: system } = await nix.run("nix-instantiate", [
      "--eval",
      "--expr",
      "builtins.currentSystem",
    ]);
    for (const folder of ["nix", "hook"]) {
      await cp(join(ROOT, folder), join(flake, folder), { recursive: true });
    }
    await cp(join(ROOT, "test/toy-pkgs.nix"), join(flake, "toy-pkgs.nix"));
    await writeFile(
      join(flake, "flake.nix"),
      `{
        outputs = { self }:
          let
            pkgs = import ./toy-pkgs.nix { system = ${system.trim()}; bash = "${bash}"; };
            handpick = import ./nix/lib.nix { inherit pkgs; };
          in {
            picks = handpick.manifest ${SELECTION};
            shell = handpick.shell ${SELECTION};
          };
      }`,
    );
    const run = async (command: string, args: readonly string[]): Promise<string> => {
      const features = ["--extra-experimental-features", "flakes", "--offline"];
      const options = { env: { HANDPICK_STATE_DIR: join(nix.dir, "state") } };
      return (await nix.run("nix", [command, ...features, ...args], options)).stdout;
    };
    await run("build", [`path:${flake}#picks`, "--out-link", join(nix.dir, "result")]);
    const text = await readFile(join(nix.dir, "result"), "utf8");
    assert.equal(parseManifest(text, nix).picks[0]?.paths.length, 2);

    const inside = ["--command", bash, "-c", "echo inside"];
    assert.equal(await run("develop", [`path:${flake}#shell`, ...inside]), "inside\n");
    const link = await readlink(join(nix.dir, "state/wanted/project"));
    assert.equal(await readFile(link, "utf8"), text);
  });
});
