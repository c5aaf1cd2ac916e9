import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { handpick } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

describe("handpick doctor without a cache", { timeout: 60_000 }, () => {
  it("fails where a selection has no cache to go to, and nowhere else", async () => {
    await using rig = await SyncRig.create();
    await writeFile(join(rig.nix.dir, "handpick.toml"), "");
    const doctor = async (): Promise<[number, string]> => {
      const { status, stdout } = await handpick(rig.nix, ["doctor"], { env: rig.env });
      return [status, stdout.split("\n").find((line) => / caches: /.test(line)) ?? stdout];
    };
    assert.deepEqual(await doctor(), [0, "warning caches: none configured"]);
    await rig.declare("home", [{ packages: ["data"], caches: ["cachix://mine"] }]);
    assert.deepEqual(await doctor(), [
      0,
      "ok      caches: none configured, and selections name their own",
    ]);
    await rig.declare("home", [{ packages: ["data"] }]);
    assert.deepEqual(await doctor(), [
      2,
      "failed  caches: Cannot choose a cache: none is configured",
    ]);
    await rig.declare("home", [{ packages: ["data"], caches: ["office"] }]);
    assert.deepEqual(await doctor(), [
      2,
      'failed  caches: Cannot find cache "office" in the configuration',
    ]);
  });
});
