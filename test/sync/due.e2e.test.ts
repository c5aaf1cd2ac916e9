import assert from "node:assert/strict";
import { readdir, readFile, watch, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { CrashProxy } from "../crash/crash-proxy.ts";
import { handpick, isServed, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

const skip =
  process.env["HANDPICK_TEST_MATRIX"] !== undefined && "what Nix it is makes no difference here";
const SILENT = { status: 0, stdout: "", stderr: "" };
const now = (): number => Date.now() / 1000;

/** In seconds from now; undefined if nothing is due. */
async function dueIn({ state }: SyncRig): Promise<number | undefined> {
  const text = await readFile(join(state, "due"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  assert.match(text, /^\d{10}\n$/);
  return Number(text) - now();
}

function assertBetween(value: number | undefined, least: number, most: number): void {
  assert.ok(value !== undefined && value > least && value <= most, String(value));
}

describe("the time that handpick sync leaves for hooks", { timeout: 60_000, skip }, () => {
  it("is that of the next try, of the next look where nothing is left, and none where nothing is wanted", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    await rig.configure({ mine: "http://127.0.0.1:1" }, serve.token);
    await rig.declare("home", [{ packages: ["app"] }]);
    assert.equal((await rig.sync()).status, 0);
    const first = await dueIn(rig);
    assertBetween(first, 30, 61);
    await writeFile(join(rig.state, "due"), "rubbish");
    assert.equal((await rig.sync()).status, 0);
    assertBetween(await dueIn(rig), 0, 61);
    await rig.configure({ mine: serve.url }, serve.token);
    assert.equal((await rig.sync()).status, 0);
    assertBetween(await dueIn(rig), 0.79 * 86_400, 86_401);
    await rig.withdraw("home");
    assert.equal((await rig.sync()).status, 0);
    assert.equal(await dueIn(rig), undefined);
    assert.deepEqual(
      (await readdir(rig.state)).filter((name) => name.startsWith(".")),
      [],
    );
  });

  it("is not far where a sync did not come to its end", async () => {
    await using rig = await SyncRig.create();
    await rig.declare("home", [{ packages: ["app"] }]);
    await writeFile(join(rig.nix.dir, "handpick.toml"), "wrong");
    assert.equal((await rig.sync()).status, 2);
    assertBetween(await dueIn(rig), 600, 901);
  });

  it("has no meaning for a sync that is asked for", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    await rig.configure({ mine: serve.url }, serve.token);
    const { app } = await rig.declare("home", [{ packages: ["app"] }]);
    await writeFile(join(rig.state, "due"), `${Math.floor(now()) + 5000}\n`);
    assert.equal((await rig.sync()).status, 0);
    assert.ok(await isServed(serve, app));
  });
});

describe("handpick status, after the clock was wrong", { timeout: 60_000, skip }, () => {
  it("tells of no time before there was a handpick, and of none in the future", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    await rig.configure({ mine: serve.url }, serve.token);
    await rig.declare("home", [{ packages: ["app"] }]);
    await rig.synced();
    for (const wrong of [5_000_000, Date.now() + 365 * 86_400_000]) {
      rig.ledger(`UPDATE entries SET pushed_at = ${wrong}, seen_at = ${wrong}`);
      rig.ledger(`UPDATE caches SET checked_at = ${wrong}`);
      rig.ledger(`UPDATE facts SET value = '${wrong}' WHERE name LIKE 'sync%'`);
      const { lastSync, caches, paths } = await rig.status();
      assertBetween((lastSync?.endedAt ?? 0) / 1000, now() - 10, now());
      const [mine] = caches;
      assert.deepEqual([mine?.checkedAt, mine?.lastPushedAt], [undefined, undefined]);
      assert.deepEqual([paths[0]?.pushedAt, paths[0]?.seenAt], [undefined, undefined]);
    }
  });
});

describe("handpick sync --detach", { timeout: 60_000, skip }, () => {
  it("ends while a copy of it works, with the files that were named", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix, { args: ["--listen", "0.0.0.0:0"] });
    await using proxy = await CrashProxy.start(serve.url);
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await goOn.promise;
    };
    await rig.configure({ mine: proxy.url }, serve.token);
    await rig.declare("home", [{ packages: ["app"] }]);
    const env = { ...rig.env, HANDPICK_STATE_DIR: "state" };
    const args = ["sync", "--detach", "--config", "handpick.toml", "--recheck", "--wait"];
    assert.deepEqual(await handpick(rig.nix, args, { env }), SILENT);
    await reached.promise;
    const changes = watch(rig.state)[Symbol.asyncIterator]();
    goOn.resolve();
    while ((await rig.status()).lastSync?.endedAt === undefined) await changes.next();
    await changes.return?.();
    assert.equal((await rig.status()).caches[0]?.paths.pushed, 2);
  });
});
