import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { isServed, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

describe("a cache that refuses the token", { timeout: 60_000 }, () => {
  it("is asked again by the next sync once there is another token, and not before", async () => {
    await using rig = await SyncRig.create();
    await using serve = await startServe(rig.nix);
    const wrong = "x".repeat(serve.token.length);
    const file = join(rig.nix.dir, "token");
    const tries = (): number | undefined =>
      (rig.ledger("SELECT tries FROM caches")[0] as { tries: number } | undefined)?.tries;
    await rig.configure({ mine: serve.url }, wrong);
    const { data } = await rig.declare("home", [{ packages: ["data"] }]);
    assert.equal((await rig.sync()).status, 3);
    assert.equal((await rig.sync()).status, 3);
    // systemd makes the files of credentials anew at each start.
    await rm(file);
    await writeFile(file, wrong);
    assert.equal((await rig.sync()).status, 3);
    assert.equal(tries(), 1);
    await rm(file);
    assert.equal((await rig.sync()).status, 3, "no token");
    assert.equal(tries(), 2);

    const ledger = await readFile(join(rig.state, "ledger.sqlite"), "latin1");
    const wal = await readFile(join(rig.state, "ledger.sqlite-wal"), "latin1").catch(() => "");
    const digest = createHash("sha256").update(wrong).digest();
    for (const encoding of ["hex", "base64", "latin1"] as const) {
      const text = digest.toString(encoding);
      assert.ok(!`${ledger}${wal}`.includes(text), encoding);
    }
    assert.ok(!`${ledger}${wal}`.includes(wrong));

    await writeFile(file, serve.token);
    assert.equal((await rig.sync()).status, 0);
    assert.equal(await isServed(serve, data), true);
    assert.equal((await rig.status()).toDo, undefined);
  });
});
