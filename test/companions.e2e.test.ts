import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it, type TestContext } from "node:test";

import { handpick, type Result } from "./handpick.ts";
import { openStore } from "../src/store/open-store.ts";
import { createTestNix, type RunResult, type TestNix } from "./nix.ts";
import { CA_FEATURES, shPackages } from "./sh-packages.ts";

const PACKAGES = shPackages(`rec {
  lib = sh "lib" { } "echo building lib; mkdir $out; echo the library > $out/f";
  app = sh "app" { inherit lib; } ''
    echo building app
    mkdir -p $out/bin $out/empty
    echo $lib > $out/bin/app
    chmod +x $out/bin/app
    ln -s bin/app $out/link
    echo > "$out/é \\"quoted\\""
  '';
}`);

function hashOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1).slice(0, 32);
}

/** A folder as a cache, filled by handpick and read by the Nix of this machine. */
describe("what a cache has beside its paths", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let folder: string;
  before(async () => {
    nix = await createTestNix();
    await writeFile(join(nix.dir, "packages.nix"), PACKAGES);
  });
  beforeEach(async () => {
    folder = join(nix.dir, "cache");
    await rm(folder, { recursive: true, force: true });
  });
  after(async () => {
    await nix[Symbol.asyncDispose]();
  });

  async function build(attribute: string): Promise<string> {
    const args = ["packages.nix", "--no-out-link", "-A", attribute];
    return (await nix.run("nix-build", args)).stdout.trim();
  }
  async function push(path: string, ...lines: readonly string[]): Promise<Result> {
    const table = `[caches.usb]\nurl = "file://${folder}"\ncompression = "none"\n`;
    await writeFile(join(nix.dir, "handpick.toml"), `${table}${lines.join("\n")}\n`);
    const result = await handpick(nix, ["push", path]);
    assert.equal(result.status, 0, result.stderr);
    return result;
  }
  const files = (): Promise<string[]> => readdir(folder, { recursive: true });
  const read = (name: string): Promise<string> => readFile(join(folder, name), "utf8");

  it("is nothing where nothing was asked for", async () => {
    await push(await build("app"));
    const names = (await files()).filter((name) => !/\.nar(?:info)?$/.test(name));
    assert.deepEqual(names.toSorted(), [
      ".partial",
      "log",
      "nar",
      "nar/.partial",
      "nix-cache-info",
      "realisations",
    ]);
  });

  it("is with listings what nix copy writes, as JSON", async () => {
    const app = await build("app");
    await push(app, "listings = true");
    const theirs = join(nix.dir, "theirs");
    const url = `file://${theirs}?write-nar-listing=true&compression=none`;
    await nix.run("nix", ["copy", "--to", url, app]);
    const names = (await readdir(theirs)).filter((name) => name.endsWith(".ls"));
    assert.equal(names.length, 2);
    assert.deepEqual(
      (await files()).filter((name) => name.endsWith(".ls")).toSorted(),
      names.toSorted(),
    );
    for (const name of names) {
      assert.deepEqual(
        JSON.parse(await read(name)),
        JSON.parse(await readFile(join(theirs, name), "utf8")),
      );
    }
  });

  it("has listings by which Nix finds files in a NAR without reading the whole of it", async () => {
    const app = await build("app");
    await push(app, "listings = true");
    const { root } = JSON.parse(await read(`${hashOf(app)}.ls`));
    const narInfo = await read(`${hashOf(app)}.narinfo`);
    const [url = "", narHash = ""] = ["URL: ", "NarHash: sha256:"].map(
      (key) =>
        narInfo
          .split("\n")
          .find((line) => line.startsWith(key))
          ?.slice(key.length) ?? "",
    );
    // Nix keeps NARs that it looked into with their listings, and then reads at the places they tell.
    const kept = join(nix.dir, "nars");
    await mkdir(kept);
    for (const name of [hashOf(app), narHash]) {
      await writeFile(join(kept, `${name}.ls`), JSON.stringify(root));
      await copyFile(join(folder, url), join(kept, `${name}.nar`));
    }
    await rm(join(folder, url));
    const store = ["--store", `file://${folder}?local-nar-cache=${kept}`];
    const listed = await nix.run("nix", ["store", "ls", ...store, "-R", app]);
    const names = ["./bin", "./bin/app", "./empty", "./link", './é "quoted"'];
    assert.deepEqual(
      listed.stdout
        .trim()
        .split("\n")
        .filter((name) => name !== ".")
        .toSorted(),
      names,
    );
    const shown = await nix.run("nix", ["store", "cat", ...store, `${app}/bin/app`]);
    assert.equal(shown.stdout, `${await build("lib")}\n`);
  });

  it("has with build-logs what the builds printed, for nix log", async () => {
    const [app, lib] = [await build("app"), await build("lib")];
    const { stderr } = await push(app, "build-logs = true");
    assert.doesNotMatch(stderr, /without a build log/);
    const store = ["--store", `file://${folder}`];
    await using reader = await createTestNix();
    for (const [path, text] of [
      [app, "building app\n"],
      [lib, "building lib\n"],
    ] as const) {
      const options = { env: { NIX_STORE_DIR: nix.storeDir } };
      const told = await reader.run("nix", ["log", ...store, path], options);
      assert.equal(told.stdout, text);
    }
  });

  it("says which paths it has no log of, and has the paths", async () => {
    const app = await build("app");
    await rm(join(nix.dir, "log"), { recursive: true });
    const { stderr } = await push(app, "build-logs = true");
    const note = /^usb: (?:lib|app) and 1 more go without a build log: the store has none$/m;
    assert.match(stderr, note);
    assert.deepEqual(await readdir(join(folder, "log")), []);
    assert.equal((await files()).filter((name) => name.endsWith(".narinfo")).length, 2);
  });
});

const CA_PACKAGES = shPackages(`rec {
  plain = sh "plain" { } "echo plain > $out";
  lib = sh "lib" (ca // { inherit plain; }) "echo lib $plain > $out";
  app = sh "app" (ca // { inherit lib; outputs = [ "out" "doc" ]; }) "echo $lib > $out; echo doc > $doc";
  top = sh "top" { inherit app; } "echo $app > $out";
}`);

/** Content-addressed packages, which a Nix without them finds by their derivations. */
describe("a folder with realisations", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let folder: string;
  let keys: { readonly secret: string; readonly public: string };
  beforeEach(async () => {
    nix = await createTestNix();
    folder = join(nix.dir, "cache");
    await writeFile(join(nix.dir, "packages.nix"), CA_PACKAGES);
    await nix.run("nix-store", ["--generate-binary-cache-key", "ca-1", "key", "key.pub"]);
    keys = {
      secret: join(nix.dir, "key"),
      public: await readFile(join(nix.dir, "key.pub"), "utf8"),
    };
  });
  afterEach(async () => {
    await nix[Symbol.asyncDispose]();
  });

  /** Builds it, or fetches it where nothing may be built. */
  async function realise(attribute: string, ...lines: readonly string[]): Promise<RunResult> {
    const args = ["packages.nix", "--no-out-link", "-A", attribute];
    const env = { NIX_CONFIG: [CA_FEATURES, ...lines].join("\n") };
    return await nix.run("nix-build", args, { env, allowFailure: true });
  }
  async function fetch(attribute: string): Promise<RunResult> {
    // The store is made anew at its place, which names of paths depend on.
    for (const name of ["store", "var"]) {
      await nix.run("chmod", ["-R", "u+w", name]);
      await rm(join(nix.dir, name), { recursive: true });
    }
    await rm(join(nix.dir, "home/.cache"), { recursive: true, force: true });
    const substituters = `substituters = file://${folder}`;
    const keysLine = `trusted-public-keys = ${keys.public.trim()}`;
    return await realise(attribute, substituters, keysLine, "require-sigs = true", "max-jobs = 0");
  }
  async function push(paths: readonly string[], ...lines: readonly string[]): Promise<Result> {
    const table = `[caches.usb]\nurl = "file://${folder}"\nsigning-key-file = "${keys.secret}"\n`;
    await writeFile(join(nix.dir, "handpick.toml"), `${table}${lines.join("\n")}\n`);
    const result = await handpick(nix, ["push", ...paths]);
    assert.equal(result.status, 0, result.stderr);
    return result;
  }
  /** Builds an attribute and returns its path; skips the test where Nix keeps realisations elsewhere. */
  async function built(t: TestContext, attribute: string): Promise<string | undefined> {
    const { status, stdout, stderr } = await realise(attribute);
    assert.equal(status, 0, stderr);
    await using database = await openStore({ env: nix.env });
    const found = await database.realisations([]);
    if (!("fault" in found)) return stdout.trim();
    t.skip(found.fault);
    return undefined;
  }

  for (const attribute of ["lib", "app", "top"]) {
    it(`serves ${attribute} by its derivation to a Nix that builds nothing`, async (t) => {
      const path = await built(t, attribute);
      if (path === undefined) return;
      await push([path], "realisations = true");
      const fetched = await fetch(attribute);
      assert.equal(fetched.status, 0, fetched.stderr);
      assert.equal(fetched.stdout.trim(), path);
    });
  }

  it("serves what it had already, where what needs that is pushed", async (t) => {
    const path = await built(t, "app");
    if (path === undefined) return;
    const [lib = ""] = (await realise("lib")).stdout.split("\n");
    await push([lib]);
    assert.deepEqual(await readdir(join(folder, "realisations")), []);
    await push([path], "realisations = true");
    const fetched = await fetch("app");
    assert.equal(fetched.status, 0, fetched.stderr);
  });

  it("serves a path that it had before another derivation made the same", async (t) => {
    const path = await built(t, "lib");
    if (path === undefined) return;
    await push([path], "realisations = true");
    // Another builder, and the same output.
    await writeFile(
      join(nix.dir, "packages.nix"),
      CA_PACKAGES.replace("echo lib", "true; echo lib"),
    );
    assert.equal(await built(t, "lib"), path);
    assert.match((await push([path], "realisations = true")).stderr, /nothing to push/);
    const fetched = await fetch("lib");
    assert.equal(fetched.status, 0, fetched.stderr);
    assert.equal(fetched.stdout.trim(), path);
  });

  it("is needed for that: without realisations the derivation would have to be built", async (t) => {
    const path = await built(t, "lib");
    if (path === undefined) return;
    await push([path]);
    assert.notEqual((await fetch("lib")).status, 0);
  });
});
