import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { handpick, isServed, type ServeRig, startServe } from "./handpick.ts";
import { SyncRig } from "./sync/sync-rig.ts";

const rules = (...exclude: readonly string[]): string =>
  `[rules]\nexclude = ${JSON.stringify(exclude)}\n`;

describe("rules that leave nothing out", { timeout: 60_000 }, () => {
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

  it("excludes a package by its name alone, whatever its version", async () => {
    await rig.configure({ mine: serve.url }, serve.token, rules("zoom"));
    const zoom = await rig.nix.add("zoom-6.1", "zoom");
    const other = await rig.nix.add("zoom-us-1", "another package");
    const pushed = await handpick(rig.nix, ["push", zoom, other], { env: rig.env });
    assert.equal(pushed.status, 0, pushed.stderr);
    assert.match(pushed.stdout, /^1 pushed .*1 excluded/);
    assert.deepEqual([await isServed(serve, zoom), await isServed(serve, other)], [false, true]);
  });

  it("are told by plan, on stderr, and no others are", async () => {
    const zoom = await rig.nix.add("zoom-6.1", "zoom");
    for (const [exclude, idle] of [
      [["zoom", "zoom-6.1", "*-6.1"], ""],
      [["zom", "zoom", "zoom-6"], '"zom", "zoom-6"'],
    ] as const) {
      await rig.configure({ mine: serve.url }, serve.token, rules(...exclude));
      const plan = await handpick(rig.nix, ["plan", "--json", zoom], { env: rig.env });
      assert.equal(plan.status, 0, plan.stderr);
      const { totals } = JSON.parse(plan.stdout) as { totals: { excluded: { paths: number } } };
      assert.equal(totals.excluded.paths, 1);
      const words = `handpick: exclude of [rules] has globs that fit nothing here: ${idle}\n`;
      const told = plan.stderr.split(/(?<=\n)/).filter((line) => line.includes("exclude"));
      assert.deepEqual(told, idle === "" ? [] : [words]);
    }
  });

  it("are told by doctor of what is wanted", async () => {
    const ask = async (): Promise<string> =>
      (await handpick(rig.nix, ["doctor"], { env: rig.env })).stdout;
    await rig.configure({ mine: serve.url }, serve.token, rules("data"));
    assert.doesNotMatch(await ask(), /rules/, "nothing is wanted yet");
    await rig.declare("home", [{ packages: ["data"] }]);
    assert.match(await ask(), /^ok +rules: each exclude matches a wanted path/m);
    await rig.configure({ mine: serve.url }, serve.token, rules("data", "dat"));
    assert.match(
      await ask(),
      /^warning rules: exclude of \[rules\] has globs that fit nothing .*"dat"$/m,
    );
  });
});
