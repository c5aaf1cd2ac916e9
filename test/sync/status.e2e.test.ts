import assert from "node:assert/strict";
import { chmod, chown, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { stateFolder } from "../../src/state/state-folder.ts";
import { statusLines } from "../../src/report/status-lines.ts";
import { readStatus } from "../../src/sync/status.ts";
import { CrashProxy } from "../crash/crash-proxy.ts";
import { handpick, resultOf, type ServeRig, startServe } from "../handpick.ts";
import { asOrdinaryUser, makeUnwritable, NOBODY } from "../ordinary-user.ts";
import { SyncRig } from "./sync-rig.ts";

const UNREAD = /^home: \S+ \(no sync has looked at it yet\)\nnever synced\n$/;

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
    assert.match((await handpick(rig.nix, ["status"], { env: rig.env })).stdout, UNREAD);
    const { selections } = await rig.status();
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
    assert.match(
      statusLines(status, Date.now()).join("\n"),
      /^home: .*\nmine: 2 pushed\n {2}last pushed .* ago\nlast sync: /,
    );
    assert.deepEqual(await readdir(rig.state), files);
    await chmod(rig.state, 0o700);
  });
});
