import assert from "node:assert/strict";
import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";

import { readFailure } from "../../src/state/failure.ts";
import { stateFolder } from "../../src/state/state-folder.ts";
import { CrashProxy } from "../crash/crash-proxy.ts";
import { handpick, isServed, resultOf, type ServeRig, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

const EVENTS = `[builds]\ninclude = ["app-*"]\ncaches = ["mine"]\n`;

/** A spool that is not empty starts a sync again and again. */
describe("handpick sync, whatever fails", { timeout: 60_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  before(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix, { args: ["--listen", "0.0.0.0:0"] });
    await rig.configure({ mine: serve.url }, serve.token, EVENTS);
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  const inState = async (folder: string): Promise<string[]> =>
    (await readdir(join(rig.state, folder))).toSorted();

  async function failed(pattern: RegExp): Promise<void> {
    const { status, stderr } = await rig.sync();
    assert.equal(status, 2);
    assert.match(stderr, pattern);
    assert.deepEqual(await inState("spool"), []);
  }

  it("empties the spool and keeps what was in it while the configuration is unusable", async () => {
    const { app, data } = await rig.declare("home", [{ packages: ["data"] }]);
    await rig.built("1", ["", app]);
    const good = { mine: serve.url };
    await rig.configure(good, serve.token, "[unknown]\n");
    await failed(/CONFIG_INVALID/);
    assert.deepEqual(await inState("queue"), ["built-1", "wanted-home"]);
    const first = (await rig.status()).trouble;
    assert.deepEqual([first?.code, (first?.since ?? 0) > 0], ["CONFIG_INVALID", true]);
    const file = join(rig.nix.dir, "handpick.toml");
    await rm(file);
    const { status } = await handpick(rig.nix, ["sync", "--config", file], { env: rig.env });
    assert.equal(status, 2);
    const { trouble, unread } = await rig.status();
    assert.deepEqual([trouble?.code, unread], ["CONFIG_UNREADABLE", 1]);
    assert.equal(trouble?.since, first?.since);
    const { stdout } = await handpick(rig.nix, ["status"], { env: rig.env });
    assert.match(stdout, /\nsync fails for .*CONFIG_UNREADABLE\]\n {2}\S/);
    await rig.configure(good, serve.token, EVENTS);
    assert.equal((await rig.synced()).pushed, 3);
    assert.deepEqual([await isServed(serve, app), await isServed(serve, data)], [true, true]);
    assert.deepEqual(await inState("queue"), []);
    assert.equal((await rig.status()).trouble, undefined);
  });

  it("does so while the ledger is unusable", async () => {
    const { app } = await rig.select("two", [{ packages: ["app"] }], "2");
    await rig.built("2", ["", app]);
    const ledger = join(rig.state, "ledger.sqlite");
    for (const file of [ledger, `${ledger}-wal`, `${ledger}-shm`]) await rm(file, { force: true });
    await mkdir(ledger);
    await failed(/expected "ledger\.sqlite" in it to be a file, found a folder \[FILE_UNUSABLE\]/);
    assert.deepEqual(await inState("queue"), ["built-2"]);
    assert.equal((await readFailure(stateFolder(rig.state)))?.code, "FILE_UNUSABLE");
    await rmdir(ledger);
    await rig.synced();
    assert.ok(await isServed(serve, app));
  });

  it("does so while another sync is at work, which takes it up", async () => {
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token, EVENTS);
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await goOn.promise;
    };
    await rig.declare("home", [{ packages: ["data"] }], "3");
    const sync = resultOf(rig.start());
    await reached.promise;
    const { app } = await rig.select("four", [{ packages: ["app"] }], "4");
    await rig.built("4", ["", app]);
    assert.match((await rig.sync()).stderr, /another sync is at work/);
    assert.deepEqual(await inState("spool"), []);
    goOn.resolve();
    assert.equal((await sync).status, 0);
    assert.ok(await isServed(serve, app));
    assert.deepEqual(await inState("queue"), []);
  });

  it("serves what is wanted meanwhile in other caches while one hangs", async () => {
    await using other = await startServe(rig.nix, { name: "other" });
    await using proxy = await CrashProxy.start(serve.url);
    const reached = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await new Promise(() => undefined);
    };
    await rig.configure({ mine: proxy.url, other: other.url }, other.token);
    const first = await rig.declare("home", [{ packages: ["data"] }], "5");
    const sync = rig.start();
    const ended = resultOf(sync);
    await reached.promise;
    while (!(await isServed(other, first.data))) await setImmediate();
    const second = await rig.declare("home", [{ packages: ["app"] }], "6");
    while (!(await isServed(other, second.app))) await setImmediate();
    assert.deepEqual(await inState("spool"), []);
    sync.kill("SIGTERM");
    assert.equal((await ended).status, 130);
    assert.equal((await rig.status()).trouble, undefined, "interrupted is no failure");
    await rig.configure({ mine: serve.url, other: other.url }, serve.token);
    await rig.syncedWith(3); // that is no token of the other cache
    assert.deepEqual(
      [await isServed(serve, first.data), await isServed(serve, second.app)],
      [false, true],
    );
  });
});
