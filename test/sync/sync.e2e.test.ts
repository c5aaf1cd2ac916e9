import assert from "node:assert/strict";
import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";

import { CrashProxy } from "../crash/crash-proxy.ts";
import {
  handpick,
  isServed,
  type Result,
  resultOf,
  type ServeRig,
  startServe,
} from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

describe("handpick sync", { timeout: 300_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  beforeEach(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix);
  });
  afterEach(async () => {
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  /** Returns true if readers of a cache see a path. */
  const has = (path: string, cache = serve): Promise<boolean> => isServed(cache, path);

  /** Makes a cache forget a path, as its own garbage collector does. */
  async function evict(path: string): Promise<void> {
    await serve[Symbol.asyncDispose]();
    const db = new DatabaseSync(join(serve.dir, "cache.sqlite"));
    const { changes } = db.prepare("DELETE FROM narinfos WHERE path = ?").run(path);
    db.close();
    assert.equal(changes, 1);
    await restart();
  }

  async function restart(): Promise<void> {
    const { dir } = serve;
    await rm(join(rig.nix.dir, "handpick.toml"));
    serve = await startServe(rig.nix, { dir });
  }

  it("pushes what is wanted, and then asks nobody", async () => {
    const { app, lib } = await rig.declare("home", [{ packages: ["app"] }]);
    assert.equal((await rig.synced()).pushed, 2);
    assert.deepEqual([await has(app), await has(lib)], [true, true]);
    assert.deepEqual(await readdir(join(rig.state, "spool")), []);
    const { selections, caches, lastSync } = await rig.status();
    assert.deepEqual(
      selections.map(({ name, caches: places }) => [name, places]),
      [["home", ["mine"]]],
    );
    assert.equal(caches[0]?.paths.pushed, 2);
    assert.ok((lastSync?.endedAt ?? 0) > 0);
    await serve[Symbol.asyncDispose]();
    assert.equal((await rig.synced()).pushed, 0);
    assert.equal((await rig.status()).caches[0]?.trouble, undefined);
  });

  it("wants what push and plan --wanted are about", async () => {
    const run = (command: string): Promise<Result> =>
      handpick(rig.nix, [command, "--wanted"], { env: rig.env });
    const nothing = await run("push");
    assert.equal(nothing.status, 2);
    assert.match(nothing.stderr, /^handpick: Nothing is wanted in ".*\/state" \[USAGE\]$/m);
    const { data } = await rig.declare("home", [{ packages: ["data"] }]);
    await rig.want("ended", `${data.slice(0, -6)}-gone`);
    assert.match((await run("plan")).stdout, /^mine: 1 selected, 1 to push/);
    assert.equal((await run("push")).status, 0);
    assert.ok(await has(data));
    for (const target of [data, "/etc/passwd"]) {
      await rig.want("wrong", target);
      const refused = await run("push");
      assert.equal(refused.status, 2);
      assert.match(
        refused.stderr,
        /^handpick: Cannot use selection "wrong": .*\[MANIFEST_INVALID\]$/m,
      );
    }
  });

  it("asks a cache one thing when it looks again, and pushes what was evicted", async () => {
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    const { app } = await rig.declare("home", [{ packages: ["app"] }]);
    await rig.synced();
    await evict(app);
    proxy.target = Promise.resolve(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    proxy.counts.clear();
    assert.equal((await rig.synced()).pushed, 0, "not before it is time");
    assert.deepEqual([...proxy.counts], []);
    rig.ledger("UPDATE caches SET next_at = 0");
    assert.equal((await rig.synced()).pushed, 1);
    assert.ok(await has(app));
    proxy.counts.clear();
    await rig.synced("--recheck");
    assert.deepEqual([...proxy.counts], [["query", 1]]);
  });

  it("serves the caches that can be reached while one is down, and that one later", async () => {
    await using other = await startServe(rig.nix, { name: "other" });
    await rig.configure({ mine: "http://127.0.0.1:9", other: other.url }, other.token);
    const { data } = await rig.declare("home", [{ packages: ["data"] }]);
    const result = await rig.sync();
    assert.equal(result.status, 0);
    assert.match(
      result.stderr,
      /^mine: 1 left \(NETWORK\), next try in .*, or now with --recheck; see handpick status$/m,
    );
    assert.ok(await has(data, other));
    const status = await rig.status();
    const [mine] = status.caches;
    assert.equal(mine?.trouble?.code, "NETWORK");
    assert.ok((mine?.failingSince ?? 0) > 0 && (mine?.nextTry ?? 0) > Date.now());
    assert.deepEqual(
      status.paths.map(({ cache, state }) => `${cache} ${state}`),
      ["mine waiting", "other pushed"],
    );
    const text = await handpick(rig.nix, ["status"], { env: rig.env });
    assert.match(
      text.stdout,
      /mine: 1 waiting\n {2}failing for .*\[NETWORK\]\n {4}\S.*\n {2}next try in/,
    );
  });

  it("serves the others while a cache hangs, and ends when told to", async () => {
    await using other = await startServe(rig.nix, { name: "other" });
    await using proxy = await CrashProxy.start(serve.url);
    const reached = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await new Promise(() => undefined);
    };
    await rig.configure({ mine: proxy.url, other: other.url }, other.token);
    const { data } = await rig.declare("home", [{ packages: ["data"] }]);
    const sync = rig.start();
    const ended = resultOf(sync);
    await reached.promise;
    while (!(await has(data, other))) await setImmediate();
    sync.kill("SIGTERM");
    assert.equal((await ended).status, 130);
    const states = (await rig.status()).paths.map(({ cache, state }) => `${cache} ${state}`);
    assert.equal(states[0], "mine waiting");
    await rig.configure({ mine: serve.url, other: other.url }, serve.token);
    await rig.syncedWith(3); // that is no token of the other cache
    assert.ok(await has(data));
  });

  it("forgets what is withdrawn, and keeps what another selection wants", async () => {
    const { app, lib, data } = await rig.declare("home", [{ packages: ["app", "data"] }]);
    await rig.declare("work", [{ packages: ["app"] }]);
    assert.equal((await rig.synced()).pushed, 3);
    await rig.withdraw("home");
    await rig.synced();
    const known = (await rig.status()).paths.map(({ path }) => String(path));
    assert.deepEqual(known.toSorted(), [app, lib].toSorted());
    assert.ok(await has(data), "it stays in the cache");
    await rig.withdraw("work");
    await rig.synced();
    assert.deepEqual((await rig.status()).paths, []);
  });

  it("takes up a manifest that is replaced while it runs", async () => {
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    const next = await rig.select("home", [{ packages: ["tool"] }], "2");
    await rig.declare("home", [{ packages: ["data"] }]);
    let isReplaced = false;
    proxy.before = async (step) => {
      if (step !== "begin" || isReplaced) return;
      isReplaced = true;
      await rig.want("home", next.manifest);
    };
    assert.equal((await rig.synced()).pushed, 4);
    assert.ok(await has(next.tool));
    assert.equal((await rig.status()).caches[0]?.paths.pushed, 3);
    assert.deepEqual(await readdir(join(rig.state, "spool")), []);
  });

  it("does everything once when many syncs start at once", async () => {
    const syncs = Array.from({ length: 20 }, async (_, index) => {
      await rig.declare(`selection-${index}`, [{ packages: ["data"] }], `${index}`);
      return rig.synced();
    });
    const ends = await Promise.all(syncs);
    assert.equal(
      ends.reduce((sum, { pushed }) => sum + pushed, 0),
      20,
    );
    assert.equal((await rig.status()).caches[0]?.paths.pushed, 20);
    assert.deepEqual(await readdir(join(rig.state, "spool")), []);
  });

  it("pushes the rest while one path fails, and that later", async () => {
    const { app, lib, data } = await rig.declare("home", [{ packages: ["app", "data"] }]);
    const file = join(rig.nix.dir, "root", lib);
    const text = await readFile(file, "utf8");
    await chmod(file, 0o644);
    await writeFile(file, "something else");
    await rig.syncedWith(1);
    assert.deepEqual([await has(data), await has(lib), await has(app)], [true, false, false]);
    const entry = async (): Promise<string | undefined> =>
      (await rig.status()).paths.find(({ path }) => String(path) === lib)?.trouble?.code;
    assert.equal(await entry(), "STORE_PATH_CORRUPT");
    assert.equal((await rig.sync("--wait")).status, 1, "it does not heal by itself");
    await rig.declare("work", [{ packages: ["data"] }], "2");
    const { pushed, failed } = await rig.syncedWith(1);
    assert.deepEqual([pushed, failed], [1, 0], "another wish does not bring it forward");
    await writeFile(file, text);
    await chmod(file, 0o444);
    assert.equal((await rig.syncedWith(1)).pushed, 0, "it is not tried before its time");
    rig.ledger("UPDATE entries SET next_try = 0 WHERE next_try IS NOT NULL");
    assert.equal((await rig.synced()).pushed, 2);
    assert.equal((await rig.sync("--wait")).status, 0);
  });

  it("leaves a notice once something has failed for a day, and takes it away", async () => {
    const notice = join(rig.state, "notice");
    await rig.declare("home", [{ packages: ["data"], caches: ["mine", "mien"] }]);
    assert.equal((await rig.syncedWith(1)).pushed, 1);
    assert.equal((await rig.status()).caches[0]?.trouble?.code, "CACHE_UNKNOWN");
    await assert.rejects(readFile(notice), { code: "ENOENT" });
    rig.ledger("UPDATE caches SET failing_since = failing_since - 90000000");
    await rig.syncedWith(1);
    assert.match(await readFile(notice, "utf8"), /^handpick: cache mien has failed .*\n$/);
    await rig.declare("home", [{ packages: ["data"] }]);
    await rig.synced();
    await assert.rejects(readFile(notice), { code: "ENOENT" });
  });

  it("names a selection that is none, and does the others", async () => {
    await rig.want("text", await rig.nix.add("text", "no manifest"));
    await rig.want("outside", "/etc/passwd");
    await rig.declare("home", [{ packages: ["data"] }]);
    assert.equal((await rig.syncedWith(1)).pushed, 1);
    const { selections } = await rig.status();
    const codes = selections.map(({ name, trouble }) => [name, trouble?.code]);
    const expected = [
      ["home", undefined],
      ["outside", "MANIFEST_INVALID"],
      ["text", "MANIFEST_INVALID"],
    ];
    assert.deepEqual(codes, expected);
    const { status, stderr } = await rig.sync("--wait");
    assert.equal(status, 1);
    assert.match(stderr, /^outside: Cannot use .*\[MANIFEST_INVALID\]\n {2}Declare/m);
  });

  it("keeps from the garbage collector what waits, and nothing else", async () => {
    await rig.configure({ mine: "http://127.0.0.1:9" }, serve.token);
    const home = await rig.declare("home", [{ packages: ["app"] }]);
    const gone = await rig.declare("gone", [{ packages: ["data"] }]);
    await rig.synced();
    const waiting = [home.manifest, home.app, home.lib, gone.manifest, gone.data];
    assert.deepEqual(await rig.collect(waiting), waiting);
    await rig.withdraw("gone");
    await rig.synced();
    assert.deepEqual(await rig.collect(waiting), [home.manifest, home.app, home.lib]);
    await rig.configure({ mine: serve.url }, serve.token);
    assert.equal((await rig.synced()).pushed, 2);
    assert.deepEqual(await rig.collect(waiting), []);
    assert.equal((await rig.sync("--recheck")).status, 0);
    const { selections, paths } = await rig.status();
    assert.deepEqual([selections[0]?.isEnded, paths], [true, []]);
  });

  it("keeps from the garbage collector what it is pushing, and what is withdrawn meanwhile", async () => {
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await goOn.promise;
    };
    const { app, lib, data, manifest } = await rig.declare("home", [{ packages: ["app"] }]);
    const child = rig.start("--json");
    await reached.promise;
    assert.deepEqual(await rig.collect([manifest, app, lib, data]), [manifest, app, lib]);
    await rig.withdraw("home");
    assert.deepEqual(await rig.collect([app, lib]), [app, lib]);
    goOn.resolve();
    const result = await resultOf(child);
    assert.deepEqual([result.status, await has(app), await has(lib)], [0, true, true]);
    assert.deepEqual(await rig.collect([manifest, app, lib]), []);
  });

  it("roots by whole names, however the state folder is named", async () => {
    await rig.configure({ mine: "http://127.0.0.1:9" }, serve.token);
    const { app, manifest } = await rig.declare("home", [{ packages: ["app"] }]);
    const env = { HANDPICK_STATE_DIR: "state" };
    assert.equal((await handpick(rig.nix, ["sync"], { env })).status, 0);
    assert.deepEqual(await rig.collect([app, manifest]), [app, manifest]);
  });

  it("roots what waits through a daemon as well", async () => {
    const { socket } = await rig.nix.startDaemon();
    const args = ["--store", `unix://${socket}?root=${rig.nix.dir}/root`];
    await rig.configure({ mine: "http://127.0.0.1:9" }, serve.token);
    const { app, manifest } = await rig.declare("home", [{ packages: ["app"] }]);
    await rig.synced(...args);
    assert.deepEqual(await rig.collect([app, manifest]), [app, manifest]);
    await rig.configure({ mine: serve.url }, serve.token);
    await rig.synced(...args);
    await rig.collectAll([app, manifest]);
  });

  it("tells of a ledger that is none, and moves it aside", async () => {
    await rig.declare("home", [{ packages: ["data"] }]);
    const ledger = join(rig.state, "ledger.sqlite");
    const text = "no database, but text that is long enough to be looked at".repeat(20);
    await writeFile(ledger, text);
    const { stdout } = await handpick(rig.nix, ["status"], { env: rig.env });
    assert.match(stdout, /\nsync fails: .*FILE_UNUSABLE.*\n {2}Run handpick sync/);
    const synced = await rig.sync();
    assert.equal(synced.status, 0);
    assert.match(synced.stderr, /the ledger was damaged; a new one is made/);
    assert.equal(await readFile(`${ledger}.damaged`, "utf8"), text);
    assert.equal((await rig.status()).caches[0]?.paths.pushed, 1);
  });

  it("moves a ledger aside that is damaged where it is written, and forgets no selection", async () => {
    await rig.declare("home", [{ packages: ["data"] }]);
    assert.equal((await rig.synced()).pushed, 1);
    const ledger = join(rig.state, "ledger.sqlite");
    const bytes = await readFile(ledger);
    // The first page holds the schema: everything behind it is rows.
    await writeFile(ledger, bytes.fill(0x5a, 4096));
    await rig.declare("more", [{ packages: ["app"] }]);
    const { status, stderr } = await rig.sync();
    assert.equal(status, 0);
    assert.match(stderr, /the ledger was damaged; a new one is made/);
    assert.equal((await rig.synced()).pushed, 0);
  });

  it("tells what to do about a folder that it may not use", async () => {
    const env = { HANDPICK_STATE_DIR: join(rig.nix.dir, "etc/nix.conf/below") };
    const { status, stderr } = await handpick(rig.nix, ["sync"], { env });
    assert.equal(status, 2);
    assert.match(stderr, /FILE_UNUSABLE/);
  });

  it("records why a cache refuses it, for its owner alone and without the token", async () => {
    await rig.configure({ mine: serve.url }, "not-the-token-of-this-cache");
    await rig.declare("home", [{ packages: ["data"] }]);
    const { status, stdout, stderr } = await rig.sync("--wait");
    assert.equal(status, 1, "it does not heal by itself");
    const { trouble } = (await rig.status()).caches[0] ?? {};
    assert.equal(trouble?.code, "CACHE_NOT_FOUND", "as Cachix tells strangers");
    const files = await readdir(rig.state, { withFileTypes: true });
    assert.ok(files.length > 4);
    for (const file of files) {
      const { mode } = await stat(join(rig.state, file.name));
      assert.equal(mode & 0o077, 0, file.name);
      if (!file.isFile()) continue;
      const text = await readFile(join(rig.state, file.name), "latin1");
      assert.doesNotMatch(text, /not-the-token/);
    }
    assert.doesNotMatch(stdout + stderr, /not-the-token/);
    assert.equal((await rig.sync()).status, 3, "as far as is known");
    await writeFile(join(rig.nix.dir, "token"), serve.token);
    assert.equal((await rig.sync()).status, 0, "another token is tried at once");
    assert.equal((await rig.status()).caches[0]?.paths.pushed, 1);
  });

  it("is an error where something is wanted and no cache is configured", async () => {
    await rm(join(rig.nix.dir, "handpick.toml"));
    assert.equal((await rig.sync()).status, 0);
    await rig.declare("home", [{ packages: ["data"] }]);
    const { status, stderr } = await rig.sync();
    assert.equal(status, 2);
    assert.match(stderr, /CACHE_UNKNOWN/);
  });
});
