import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { checkCache, nixRecords } from "../crash/cache-check.ts";
import { CrashProxy } from "../crash/crash-proxy.ts";
import { type ServeRig, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

const BUILDS = `[builds]\ninclude = ["app-*"]\ncaches = ["mine"]\nmanifests = true\n`;

describe("handpick sync, told of builds", { timeout: 60_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  let proxy: CrashProxy;
  beforeEach(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix, { args: ["--listen", "0.0.0.0:0"] });
    proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token, BUILDS);
  });
  afterEach(async () => {
    await proxy[Symbol.asyncDispose]();
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  async function visible(): Promise<string[]> {
    const records = await nixRecords(rig.nix);
    return [...(await checkCache({ ...serve, name: "mine" }, records)).visible].toSorted();
  }

  it("pushes what the rules accept, and asks nobody about the rest", async () => {
    const { app, lib, tool, data } = await rig.select("unused", [{ packages: ["lib"] }]);
    await rig.built("1", ["", tool]);
    await rig.built("2", ["", data, "/etc/passwd", "rubbish"]);
    await mkdir(join(rig.state, "spool/built-folder"));
    await writeFile(join(rig.state, "spool/built-empty"), "");
    assert.match((await rig.sync()).stderr, /no rule of \[builds\] accepts: 2; selections push/);
    assert.deepEqual([await readdir(join(rig.state, "spool")), [...proxy.counts]], [[], []]);
    await rig.built("3", ["", app]);
    const { stderr, stdout } = await rig.sync();
    assert.match(stdout, /^2 pushed /m);
    assert.doesNotMatch(stderr, /nothing is wanted/);
    assert.deepEqual(await visible(), [app, lib].toSorted());
    assert.deepEqual((await rig.status()).builds, []);
    assert.deepEqual(await readdir(join(rig.state, "roots")), []);
    proxy.counts.clear();
    await rig.synced();
    assert.deepEqual([...proxy.counts], [], "what was pushed is settled");
  });

  it("asks the derivation for outputs that Nix does not name", async () => {
    await rig.configure({ mine: proxy.url }, serve.token, '[builds]\ninclude = ["made"]\n');
    const out = await rig.derive("made");
    await rig.built("1", [out.derivation]);
    assert.equal((await rig.synced()).pushed, 1);
    assert.deepEqual(await visible(), [out.path]);
  });

  it("pushes what a manifest that was built names", async () => {
    const { data, manifest } = await rig.select("built", [{ packages: ["data"] }]);
    await rig.built("1", ["", manifest]);
    assert.equal((await rig.synced()).pushed, 1);
    assert.deepEqual(await visible(), [data]);
  });

  it("publishes nothing that a build only writes down", async () => {
    const { data, lib } = await rig.select("unused", []);
    const picks = [
      { name: "secret", paths: [data], pin: "release" },
      { name: "elsewhere", paths: [lib], caches: ["cachix://other"] },
    ];
    const text = JSON.stringify({ version: 1, name: "m", picks });
    const written = await rig.nix.add("notes.txt", text); // it refers to nothing
    for (const more of ["", '[builds]\ninclude = ["app-*"]\n', BUILDS]) {
      await rig.configure({ mine: proxy.url }, serve.token, more);
      await rig.built(`1`, ["", written]);
      const { status, stderr } = await rig.sync();
      assert.equal(status, 0, stderr);
      assert.match(stderr, more === BUILDS ? /refused, since it does not refer/ : /is a manifest,/);
      assert.deepEqual([[...proxy.counts], (await rig.status()).builds], [[], []]);
    }
    await rig.configure({ mine: proxy.url }, serve.token, '[builds]\ninclude = ["notes*"]\n');
    await rig.built("2", ["", written]);
    assert.equal((await rig.synced()).pushed, 1);
    assert.deepEqual(await visible(), [written], "an output like others");
  });

  it("pushes what a selection wants once it is built, for the rules do not name it", async () => {
    const { data } = await rig.select("unused", []);
    const picks = [{ name: "data", paths: [data] }];
    const text = JSON.stringify({ version: 1, name: "home", picks });
    await rig.want("home", await rig.nix.add("home.json", text)); // it keeps nothing alive
    await rig.nix.run("nix-store", ["--delete", data]);
    assert.equal((await rig.synced()).pushed, 0);
    await rig.select("unused", []);
    assert.equal((await rig.synced()).pushed, 0, "nobody told of it");
    await rig.built("1", ["", data]);
    assert.equal((await rig.synced()).pushed, 1);
    proxy.counts.clear();
    await rig.built("2", ["", data]);
    await rig.synced();
    assert.deepEqual([...proxy.counts], [], "it was there already");
  });

  it("gives a build up that no cache took for a month", async () => {
    await rig.configure({ mine: "http://127.0.0.1:9" }, serve.token, BUILDS);
    const { app } = await rig.select("unused", [{ packages: ["lib"] }]);
    await rig.built("1", ["", app]);
    await rig.synced();
    const days = (count: number): number => Date.now() - count * 24 * 60 * 60_000;
    rig.ledger(`UPDATE builds SET at = ${days(29)}`);
    await rig.synced();
    assert.deepEqual((await rig.status()).builds, [app]);
    rig.ledger(`UPDATE builds SET at = ${days(31)}`);
    const { stderr } = await rig.sync();
    assert.match(stderr, /builds given up, since no cache took them for 30 days: 1\n/);
    assert.deepEqual((await rig.status()).builds, []);
    assert.deepEqual(await readdir(join(rig.state, "roots")), []);
  });

  it("keeps a build while the cache is down, and pushes it later, be it a month old", async () => {
    await rig.configure({ mine: "http://127.0.0.1:9" }, serve.token, BUILDS);
    const { app, lib, data } = await rig.select("unused", [{ packages: ["lib"] }]);
    await rig.built("1", ["", app]);
    await rig.synced();
    assert.deepEqual((await rig.status()).builds, [app]);
    assert.deepEqual(await rig.collect([app, lib, data]), [app, lib]);
    rig.ledger(`UPDATE builds SET at = ${Date.now() - 31 * 24 * 60 * 60_000}`);
    await rig.configure({ mine: proxy.url }, serve.token, BUILDS);
    assert.equal((await rig.synced()).pushed, 2);
    assert.deepEqual(await rig.collect([app]), []);
  });
});
