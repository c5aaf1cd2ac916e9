import assert from "node:assert/strict";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";

import { createTestNix, type TestNix } from "../../test/nix.ts";
import { CA_FEATURES, shPackages } from "../../test/sh-packages.ts";
import { tempDir } from "../../test/temp.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { openStore } from "./open-store.ts";
import { OutputHasher } from "./output-hasher.ts";

const ENV = { NIX_CONFIG: CA_FEATURES };

/** Of every kind: fixed, by inputs, by content, and by inputs that are by content; all in one chain. */
const PACKAGES = shPackages(`rec {
  fixed = sh "fixed" {
    outputHashMode = "flat"; outputHashAlgo = "sha256";
    outputHash = builtins.hashString "sha256" "hello\\n";
  } "echo hello > $out";
  plain = sh "plain-1" {
    inherit fixed;
    src = builtins.toFile "src" "text";
    outputs = [ "out" "dev" ];
    odd = "\\"\\\\\\n\\t\\r\\\${x} ä" + builtins.readFile ./bytes;
  } "echo plain > $out; echo $out > $dev";
  first = sh "first-1" (ca // { inherit plain; inherit (plain) dev; outputs = [ "out" "doc" ]; })
    "echo first $plain > $out; echo doc > $doc";
  second = sh "second-1" (ca // { inherit first fixed; inherit (first) doc; }) "echo $first $doc > $out";
  last = sh "last-1" { inherit second plain; } "echo $second > $out";
}`);

describe("a store with content-addressed derivations and no daemon", { timeout: 60_000 }, () => {
  let nix: TestNix;
  before(async () => {
    nix = await createTestNix();
    await writeFile(join(nix.dir, "bytes"), Buffer.from([0x78, 0xff, 0xc3, 0x28, 0x0a]));
    await writeFile(join(nix.dir, "packages.nix"), PACKAGES);
  });
  after(async () => {
    await nix[Symbol.asyncDispose]();
  });

  async function derivationOf(attribute: string): Promise<StorePath> {
    const args = ["packages.nix", "-A", attribute];
    const { stdout } = await nix.run("nix-instantiate", args, { env: ENV });
    return parseStorePath(stdout.trim().replace(/!.*/, ""), nix.storeDir);
  }

  it("tells what was built of each, and of none before", async () => {
    await using store = await openStore({ env: nix.env });
    const last = await derivationOf("last");
    assert.deepEqual([...(await store.derivationOutputs(last)).values()], [undefined]);
    const args = ["packages.nix", "--no-out-link", "-A", "last", "-A", "first.doc"];
    const { stdout } = await nix.run("nix-build", args, { env: ENV });
    const [built, doc] = stdout.trim().split("\n");
    assert.deepEqual([...(await store.derivationOutputs(last)).values()], [built]);
    const first = await store.derivationOutputs(await derivationOf("first"));
    assert.deepEqual([...first.keys()].toSorted(), ["doc", "out"]);
    assert.equal(first.get("doc"), doc);
  });

  it("knows every derivation by the hash by which Nix does", async () => {
    await nix.run("nix-build", ["packages.nix", "--no-out-link", "-A", "last"], { env: ENV });
    using db = new DatabaseSync(join(nix.stateDir, "db/db.sqlite"), { readOnly: true });
    const rows = db.prepare("select drvPath || '!' || outputName as id from Realisations").all();
    const known = new Set(rows.map(({ id }) => id));
    const layout = {
      storeDir: nix.storeDir,
      realStoreDir: nix.storeDir,
      stateDir: nix.stateDir,
      logDir: "/nonexistent",
    };
    const hasher = new OutputHasher(layout);
    for (const [attribute, outputs] of [
      ["fixed", ["out"]],
      ["plain", ["out"]],
      ["first", ["out", "doc"]],
      ["second", ["out"]],
      ["last", ["out"]],
    ] as const) {
      const hashes = await hasher.hashesOf(await derivationOf(attribute));
      for (const name of outputs) {
        assert.ok(known.has(`sha256:${hashes.get(name)}!${name}`), `${attribute} ${name}`);
      }
    }
  });

  it("tells the same as a daemon does", async () => {
    await nix.run("nix-build", ["packages.nix", "--no-out-link", "-A", "last"], { env: ENV });
    await appendFile(join(nix.dir, "etc/nix.conf"), `${CA_FEATURES}\n`);
    const daemon = await nix.startDaemon();
    await using asked = await openStore({ store: `unix://${daemon.socket}`, env: nix.env });
    await using read = await openStore({ store: "local", env: nix.env });
    assert.match(asked.description, /^daemon/);
    for (const attribute of ["plain", "first", "second", "last"]) {
      const derivation = await derivationOf(attribute);
      const outputs = await read.derivationOutputs(derivation);
      assert.deepEqual(await asked.derivationOutputs(derivation), outputs);
      assert.ok(![...outputs.values()].includes(undefined), attribute);
    }
  });

  it("forgets what was collected", async () => {
    await using store = await openStore({ env: nix.env });
    const second = await derivationOf("second");
    await nix.run("nix-build", ["packages.nix", "--no-out-link", "-A", "last"], { env: ENV });
    const [path] = (await store.derivationOutputs(second)).values();
    assert.ok(path !== undefined);
    await nix.run("nix-store", ["--gc"], { env: ENV });
    const again = await derivationOf("second");
    assert.deepEqual([...(await store.derivationOutputs(again)).values()], [undefined]);
  });
});

describe("OutputHasher", () => {
  const path = (name: string): StorePath => parseStorePath(`/nix/store/${"0".repeat(32)}-${name}`);
  const text = (...inputs: readonly string[]): string => {
    const list = inputs.map((input) => `("${path(input)}",["out"])`).join(",");
    return `Derive([("out","","r:sha256","")],[${list}],[],"x","/sh",[],[])`;
  };

  async function hashing(files: Readonly<Record<string, string>>, root: string): Promise<void> {
    await using temp = await tempDir();
    for (const [name, contents] of Object.entries(files)) {
      await writeFile(join(temp.dir, `${"0".repeat(32)}-${name}`), contents);
    }
    const layout = {
      storeDir: "/nix/store",
      realStoreDir: temp.dir,
      stateDir: "/nonexistent",
      logDir: "/nonexistent",
    };
    await new OutputHasher(layout).hashesOf(path(root));
  }

  it("reads each derivation once, however many ways lead to it", async () => {
    const files: Record<string, string> = { "0.drv": text() };
    // Two ways to the one below, each time: there are 2^200 of them in all.
    for (let index = 1; index <= 200; index += 1) {
      files[`${index}.drv`] = text(`${index - 1}.drv`, `${Math.max(index - 2, 0)}.drv`);
    }
    await hashing(files, "200.drv");
  });

  it("refuses derivations that no Nix makes", async () => {
    const corrupt = { code: "STORE_PATH_CORRUPT" };
    await assert.rejects(hashing({ "a.drv": text("b.drv"), "b.drv": text("a.drv") }, "a.drv"), {
      ...corrupt,
      message: /built from itself/,
    });
    const other = text().replace('"out"', '"dev"');
    await assert.rejects(hashing({ "a.drv": text("b.drv"), "b.drv": other }, "a.drv"), {
      ...corrupt,
      message: /takes output "out" of .*b\.drv, which has none/,
    });
    await assert.rejects(hashing({ "a.drv": text("b.drv") }, "a.drv"), { code: "STORE_PATH_GONE" });
  });
});
