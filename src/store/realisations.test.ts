import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";

import { createTestNix, type TestNix } from "../../test/nix.ts";
import { CA_FEATURES, shPackages } from "../../test/sh-packages.ts";
import { parseSecretKey } from "../nix/key.ts";
import { realisationFingerprints } from "../nix/realisation.ts";
import { signFingerprint } from "../nix/signature.ts";
import { nameOf, parseStorePath, type StorePath } from "../nix/store-path.ts";
import { openStore } from "./open-store.ts";
import { selectRealisations } from "./realisations.ts";

const PACKAGES = shPackages(`rec {
  lib = sh "lib" ca "echo lib > $out";
  app = sh "app" (ca // { inherit lib; outputs = [ "out" "doc" ]; }) "echo $lib > $out; echo doc > $doc";
  other = sh "other" ca "echo other > $out";
}`);

describe("realisations of a store", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let app: StorePath;
  before(async () => {
    nix = await createTestNix();
    await writeFile(join(nix.dir, "packages.nix"), PACKAGES);
    await nix.run("nix-store", ["--generate-binary-cache-key", "k-1", "key", "key.pub"]);
    const settings = [CA_FEATURES, `secret-key-files = ${nix.dir}/key`];
    const args = ["packages.nix", "--no-out-link", "-A", "app", "-A", "other"];
    const env = { NIX_CONFIG: settings.join("\n") };
    const { stdout } = await nix.run("nix-build", args, { env });
    app = parseStorePath(stdout.split("\n")[0] ?? "", nix.storeDir);
  });
  after(async () => {
    await nix[Symbol.asyncDispose]();
  });

  it("are read with those that they were built with, and with signatures that are as Nix makes them", async () => {
    await using store = await openStore({ env: nix.env });
    const found = await store.realisations([app]);
    assert.ok(!("fault" in found), JSON.stringify(found));
    const key = parseSecretKey((await readFile(join(nix.dir, "key"), "utf8")).trim());
    const names = new Set<string>();
    for (const [id, realisation] of found) {
      names.add(nameOf(realisation.path));
      assert.equal(realisation.id, id);
      for (const [id, path] of realisation.dependencies) assert.equal(found.get(id)?.path, path);
      const [signature = "", ...more] = realisation.signatures;
      assert.deepEqual(more, []);
      const ours = realisationFingerprints(realisation).map((line) => signFingerprint(line, key));
      assert.ok(ours.includes(signature), `${signature} of ${id} is none of ${ours.join(" ")}`);
    }
    assert.equal(names.has("other"), false);
    assert.ok(names.has("app"));
    // Nix 2.34 records no dependencies.
    const { stdout } = await nix.run("nix-store", ["--version"]);
    if (/ 2\.(?:8|26)\./.test(stdout)) assert.deepEqual(names, new Set(["app", "lib"]));
  });

  it("are what the daemon's database has", async () => {
    const daemon = await nix.startDaemon();
    try {
      await using store = await openStore({ env: { ...nix.env, NIX_REMOTE: "daemon" } });
      const found = await store.realisations([app]);
      assert.ok(!("fault" in found) && found.size > 0);
      const socket = `unix://${daemon.socket}?state=/nonexistent`;
      await using blind = await openStore({ env: nix.env, store: socket });
      const fault = "there is no readable Nix database beside the daemon";
      assert.deepEqual(await blind.realisations([app]), { fault });
    } finally {
      await daemon.stop();
    }
  });

  it("are none of what is not there, and of a store that never made any", async () => {
    await using store = await openStore({ env: nix.env });
    assert.deepEqual(await store.realisations([]), new Map());
    await using plain = await createTestNix();
    await using other = await openStore({ env: plain.env });
    const path = parseStorePath(await plain.add("f", "x"), plain.storeDir);
    assert.deepEqual(await other.realisations([path]), new Map());
  });
});

describe("selectRealisations()", () => {
  const path = parseStorePath(`/nix/store/${"a".repeat(32)}-app`);

  function database(): DatabaseSync {
    const connection = new DatabaseSync(":memory:");
    connection.exec(`
      create table ValidPaths (id integer primary key, path text);
      create table Realisations
        (id integer primary key, drvPath text, outputName text, outputPath integer, signatures text);
      create table RealisationsRefs (referrer integer, realisationReference integer);
      insert into ValidPaths values (1, '${path}');
    `);
    return connection;
  }

  it("says that it does not read what Nix 2.35 writes", () => {
    using connection = database();
    connection.exec("create table BuildTraceV3 (id integer)");
    const fault = "Nix 2.35 and later keep them where handpick does not read";
    assert.deepEqual(selectRealisations(connection, [path], "/nix/store"), { fault });
  });

  it("skips names that are none, references that lead nowhere, and ends where they go in a circle", () => {
    using connection = database();
    const hash = `sha256:${"0".repeat(64)}`;
    connection.exec(`
      insert into Realisations values
        (1, '${hash}', 'out', 1, null), (2, '../${hash}', 'out', 1, ''), (3, '${hash}', 'a/b', 1, ''),
        (4, '${hash}', 'dev', 1, 'a b');
      insert into RealisationsRefs values (1, 4), (4, 1), (4, 2), (1, null), (1, 99), (1, 1);
    `);
    const found = selectRealisations(connection, [path], "/nix/store");
    assert.ok(!("fault" in found));
    assert.deepEqual(
      [...found.values()].map(({ id, signatures, dependencies }) => [
        id,
        signatures,
        [...dependencies.keys()],
      ]),
      [
        [`${hash}!out`, [], [`${hash}!dev`, `${hash}!out`]],
        [`${hash}!dev`, ["a", "b"], [`${hash}!out`]],
      ],
    );
  });
});
