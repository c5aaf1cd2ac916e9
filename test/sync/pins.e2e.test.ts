import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { type ServeRig, startServe } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

describe(
  "handpick sync, where the first path of a pinned pick was collected",
  {
    timeout: 60_000,
  },
  () => {
    let rig: SyncRig;
    let serve: ServeRig;
    before(async () => {
      rig = await SyncRig.create();
      serve = await startServe(rig.nix);
    });
    after(async () => {
      await serve[Symbol.asyncDispose]();
      await rig[Symbol.asyncDispose]();
    });

    it("leaves the pin, says so, and pushes the rest", async () => {
      const { app, lib, tool, data } = await rig.select("unused", []);
      const picks = [{ name: "both", paths: [lib, data], pin: "release" }];
      const text = JSON.stringify({ version: 1, name: "home", picks });
      await rig.want("home", await rig.nix.add("home.json", text)); // it keeps nothing alive
      await rig.nix.run("nix-store", ["--delete", tool, app, lib]);
      const { status, stdout, stderr } = await rig.sync("--json");
      assert.equal(status, 0, stderr);
      assert.match(stdout, /"event":"pushed".*data-1/);
      assert.doesNotMatch(stdout, /"event":"pinned"/);
      assert.match(stdout + stderr, /pin \\?"release\\?" is left as it is: .*-lib-1 is not in/);
    });
  },
);
