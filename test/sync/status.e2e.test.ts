import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, chown, lutimes, mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { stateFolder } from "../../src/state/state-folder.ts";
import { statusLines } from "../../src/report/status-lines.ts";
import { readStatus } from "../../src/sync/read-status.ts";
import type { Status } from "../../src/sync/status.ts";
import { HOOK, hookRig, TOOLS } from "../hook/hook-rig.ts";
import { CrashProxy } from "../crash/crash-proxy.ts";
import { handpick, resultOf, type ServeRig, startServe } from "../handpick.ts";
import { asOrdinaryUser, makeUnwritable, NOBODY } from "../ordinary-user.ts";
import { SyncRig } from "./sync-rig.ts";

const UNREAD = [
  "not everything is where it should be: no sync has looked at 1 selection",
  "next sync: nothing starts one here; see handpick sync --help",
  "to do: handpick sync",
];

describe("handpick status", { timeout: 60_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  before(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix, { args: ["--listen", "0.0.0.0:0"] });
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  it("says so where nothing is there yet, and makes nothing", async () => {
    const { status, stdout } = await handpick(rig.nix, ["status"], { env: rig.env });
    assert.deepEqual([status, stdout.split("\n")[0]], [0, `nothing is wanted in ${rig.state}`]);
    assert.ok(!(await readdir(rig.nix.dir)).includes("state"));
    await rig.declare("home", [{ packages: ["app"] }]);
    const unread = await handpick(rig.nix, ["status"], { env: rig.env });
    const lines = unread.stdout.split("\n");
    assert.deepEqual(lines.slice(0, 3), UNREAD);
    assert.match(lines[3] ?? "", /^home: \S+ \(no sync has looked at it yet\)$/);
    const { selections, isInPlace, starter, toDo } = await rig.status();
    assert.deepEqual([isInPlace, starter, toDo], [false, { by: "nobody" }, "handpick sync"]);
    assert.deepEqual(
      selections.map(({ isUnread }) => isUnread),
      [true],
    );
  });

  it("reads while a sync is at work", async () => {
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    proxy.before = async (step) => {
      if (step !== "begin") return;
      reached.resolve();
      await goOn.promise;
    };
    const sync = rig.start();
    const ended = resultOf(sync);
    await reached.promise;
    const { lastSync, caches } = await rig.status();
    assert.equal(lastSync?.endedAt, undefined);
    assert.equal(caches[0]?.paths.waiting, 2);
    const other = await rig.sync();
    assert.equal(other.status, 0);
    assert.match(other.stderr, /another sync is at work/);
    const patient = rig.sync("--wait");
    goOn.resolve();
    assert.equal((await ended).status, 0);
    assert.equal((await patient).status, 0);
  });

  it("reads a folder in which it may not write", async () => {
    if (process.getuid?.() === 0) {
      const files = (await readdir(rig.state)).map((file) => join(rig.state, file));
      for (const file of [rig.state, ...files]) await chown(file, NOBODY, NOBODY);
    }
    await makeUnwritable(rig.state);
    const files = await readdir(rig.state);
    const status = await asOrdinaryUser(() => readStatus(stateFolder(rig.state)));
    assert.equal(status.caches[0]?.paths.pushed, 2);
    // The verdict above it goes by the rights of the real user, who may be root.
    assert.match(
      statusLines(status, Date.now()).join("\n"),
      /^home: .*\nmine: 2 pushed\n {2}last pushed .* ago\nlast sync: /m,
    );
    assert.deepEqual(await readdir(rig.state), files);
    await chmod(rig.state, 0o700);
  });
});

describe("handpick status, and what it says to do,", { timeout: 60_000 }, () => {
  it("says what to do so that it is true afterwards, of a token and of a configuration", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    await rig.declare("home", [{ packages: ["app"] }]);
    await rig.configure({ mine: serve.url }, "wrong");
    assert.equal((await rig.sync()).status, 3);
    const refused = await rig.status();
    assert.equal(refused.toDo, "handpick doctor mine && handpick sync --recheck");
    await rig.configure({ mine: serve.url }, serve.token);
    await writeFile(join(rig.state, "wanted/file"), "{}");
    assert.equal((await rig.sync()).status, 1);
    const { selections } = await rig.status();
    assert.match(
      selections[0]?.trouble?.message ?? "",
      /^Cannot use selection "file": expected a link/,
    );
    await rm(join(rig.state, "wanted/file"));
    assert.equal((await rig.sync()).status, 0);
    assert.equal((await rig.status()).toDo, undefined);

    const home = join(rig.nix.dir, "config");
    await mkdir(join(home, "handpick"), { recursive: true });
    await writeFile(join(home, "handpick/config.toml"), "nonsense");
    const env = { ...rig.env, HANDPICK_CONFIG: "", XDG_CONFIG_HOME: home };
    const before = await handpick(rig.nix, ["status", "--json"], { env });
    const { isInPlace, toDo, risk } = JSON.parse(before.stdout) as Status;
    assert.deepEqual([isInPlace, toDo, risk?.code], [true, "handpick doctor", "CONFIG_INVALID"]);
    assert.equal((await handpick(rig.nix, ["sync"], { env })).status, 2);
    const after = await handpick(rig.nix, ["status"], { env });
    assert.match(after.stdout, /\nto do: handpick doctor && handpick sync\n/);
    await rm(home, { recursive: true });
    assert.equal((await rig.sync()).status, 0);
    assert.equal((await rig.status()).toDo, undefined);
  });

  it("says that no sync has looked at a cache that was added or renamed, until one has", async () => {
    await using rig = await SyncRig.create();
    const table = (name: string, dir: string): string =>
      `[caches.${name}]\nurl = "file://${join(rig.nix.dir, dir)}"\n`;
    const configure = (...tables: readonly string[]): Promise<void> =>
      writeFile(join(rig.nix.dir, "handpick.toml"), tables.join(""));
    await configure(table("one", "a"));
    assert.deepEqual((await rig.status()).unreadCaches, [], "nothing is wanted");
    await rig.declare("home", [{ packages: ["app"] }]);
    assert.equal((await rig.sync()).status, 0);
    assert.deepEqual((await rig.status()).unreadCaches, []);
    for (const name of ["two", "renamed"]) {
      await configure(table("one", "a"), table(name, "b"));
      const { unreadCaches, isInPlace, toDo } = await rig.status();
      assert.deepEqual([unreadCaches, isInPlace, toDo], [[name], false, "handpick sync"]);
      const check = await handpick(rig.nix, ["status", "--check"], { env: rig.env });
      assert.equal(check.status, 1);
      assert.match(check.stdout, new RegExp(`should be: no sync has looked at ${name}\n`));
      assert.equal((await rig.sync()).status, 0);
      const after = await rig.status();
      assert.deepEqual([after.unreadCaches, after.isInPlace], [[], true]);
    }
    await configure(table("one", "a"));
    assert.deepEqual((await rig.status()).unreadCaches, [], "one was removed");
  });

  it("says when a sync that failed has ended", async () => {
    await using rig = await SyncRig.create();
    const home = join(rig.nix.dir, "empty");
    const env = { ...rig.env, HANDPICK_CONFIG: "", XDG_CONFIG_HOME: home };
    await rig.want("more", (await rig.select("more", [{ packages: ["tool"] }])).manifest);
    const failed = await handpick(rig.nix, ["sync"], { env });
    assert.equal(failed.status, 2);
    assert.doesNotMatch(failed.stderr, /--to/, "sync has no such option");
    const { lastSync, toDo } = await rig.status();
    assert.ok(lastSync?.endedAt !== undefined);
    assert.equal(toDo, "handpick doctor && handpick sync");
  });
});

/** The first example of docs/nix-shell.md. */
describe("handpick status where a shell selects", { timeout: 60_000 }, () => {
  it("says that nobody starts a sync if handpick is not on the PATH of the shell, and what to do", async () => {
    await using rig = await hookRig();
    const script = `. ${HOOK}; _handpick_select home ${await rig.manifest("m")} ${TOOLS} handpick || :`;
    const shell = spawnSync("/bin/sh", ["-c", script], { env: { ...rig.env, PATH: "/nowhere" } });
    assert.equal(shell.status, 0);
    const status = await readStatus(stateFolder(rig.state), rig.env);
    assert.deepEqual(
      [status.isInPlace, status.starter, status.toDo],
      [false, { by: "nobody" }, "handpick sync"],
    );
  });

  it("says that a shell starts one if its hook has, and what to do if that was in vain", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    await rig.configure({ mine: serve.url }, serve.token);
    await rig.declare("home", [{ packages: ["data"] }]);
    await symlink(String(Math.floor(Date.now() / 1000)), join(rig.state, "started"));
    await rig.synced();
    const status = await rig.status();
    assert.deepEqual(
      [status.isInPlace, status.starter.by, status.toDo],
      [true, "shell", undefined],
    );
    await rig.built("1", ["", "/nix/store/x"]);
    assert.equal((await rig.status()).toDo, "handpick sync", "no shell looks at builds");
    await rig.synced();
    await rig.declare("home", [{ packages: ["app"] }]);
    assert.equal((await rig.status()).toDo, undefined, "the shell has just been entered");
    await lutimes(join(rig.state, "wanted/home"), 1, 1);
    assert.equal((await rig.status()).toDo, "handpick sync");
  });
});
