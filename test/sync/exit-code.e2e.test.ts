import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { handpick, type ServeRig, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

describe("the exit codes of handpick sync and status --check", { timeout: 60_000 }, () => {
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

  const check = async (...more: string[]): Promise<number> => {
    const args = ["status", "--check", ...more];
    return (await handpick(rig.nix, args, { env: rig.env })).status;
  };
  const dead = "http://127.0.0.1:9";

  it("are 3 for a refusal alone, which -q prints, each time", async () => {
    await rig.configure({ mine: serve.url }, "not-the-token");
    await rig.declare("home", [{ packages: ["data"] }]);
    assert.equal(await check("--json"), 1, "no sync has looked at it");
    for (const time of ["first", "second"]) {
      const { status, stdout, stderr } = await rig.sync("-q");
      assert.deepEqual([time, status, stdout], [time, 3, ""]);
      assert.match(stderr, /^mine: .*CACHE_NOT_FOUND/m);
    }
    assert.equal(await check(), 1);
    assert.equal((await rig.sync("--wait")).status, 1, "not all is there");
  });

  it("are 1 for a refusal beside something else", async () => {
    const file = join(rig.nix.dir, "no-token");
    await writeFile(file, "not-the-token");
    const locked = `[caches.locked]\nurl = "cachix://mine"\nhost = "${serve.url}"\ntoken-file = "${file}"\n`;
    await rig.configure({ down: dead }, serve.token, locked);
    await rig.declare("home", [{ packages: ["data"] }]);
    const { status, stderr } = await rig.sync("-q");
    assert.equal(status, 1, stderr);
    await rig.configure({ mine: serve.url }, serve.token, locked);
    assert.equal((await rig.sync()).status, 3);
  });

  it("are 1 for a selection that is none", async () => {
    await rig.want("none", "/etc/passwd");
    const { status, stderr } = await rig.sync("-q");
    assert.deepEqual([status, /MANIFEST_INVALID/.test(stderr)], [1, true]);
    assert.equal(await check(), 1);
  });

  it("are 0 for what the user's own rules hold, but with --wait", async () => {
    await rig.configure({ mine: serve.url }, serve.token, '[rules]\nexclude = ["lib-*"]\n');
    await rig.declare("home", [{ packages: ["app"] }]);
    assert.equal((await rig.sync()).status, 0);
    assert.equal(await check(), 0);
    assert.equal((await rig.sync("--wait")).status, 1);
  });

  it("are 0 where nothing is wanted", async () => {
    assert.equal((await rig.sync()).status, 0);
    assert.equal(await check(), 0);
  });
});
