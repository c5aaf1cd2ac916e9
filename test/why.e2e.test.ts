import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { handpick, type Result } from "./handpick.ts";
import { type Selected, SyncRig } from "./sync/sync-rig.ts";

describe("handpick why", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let paths: Selected;

  before(async () => {
    rig = await SyncRig.create();
    const caches = ["usb", "disk"].map(
      (name) => `[caches.${name}]\nurl = "file://${rig.nix.dir}/${name}"`,
    );
    const rules = '[rules]\nexclude = ["lib-*"]';
    await writeFile(join(rig.nix.dir, "handpick.toml"), `${[...caches, rules].join("\n")}\n`);
    paths = await rig.select("home", [{ packages: ["tool", "app", "lib"] }]);
    await rig.declare("home", [{ packages: ["tool"], caches: ["usb"] }]);
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
  });

  const run = (...args: readonly string[]): Promise<Result> =>
    handpick(rig.nix, args, { env: rig.env });

  it("tells what is wanted, by which way, and which rule decides", async () => {
    const { status, stdout, stderr } = await run("why", "lib", "app-1");
    assert.equal(status, 0, stderr);
    const [lib, ofLib, wayToLib, app, ofApp, wayToApp] = stdout.trimEnd().split("\n");
    assert.match(lib ?? "", /^\/nix\/store\/\S+-lib-1 \(\d+ B\)$/);
    assert.equal(ofLib, '  usb: excluded: excluded by rule "lib-*"');
    assert.equal(wayToLib, "  for tool of home: tool-1 -> app-1 -> lib-1");
    assert.match(app ?? "", /-app-1 /);
    assert.match(
      ofApp ?? "",
      /^ {2}usb: held: needs \S+-lib-1, which is excluded by rule "lib-\*"$/,
    );
    assert.equal(wayToApp, "  for tool of home: tool-1 -> app-1");
  });

  it("explains a path in the closure of another, in the caches that are named", async () => {
    const { status, stdout } = await run(
      "why",
      "--json",
      "--to",
      "disk",
      "--for",
      paths.app,
      paths.lib,
    );
    assert.equal(status, 0);
    const answer = JSON.parse(stdout);
    assert.equal(answer.version, 1);
    const [{ path, caches, picks }] = answer.paths;
    assert.equal(path, paths.lib);
    assert.deepEqual(
      [caches.length, caches[0].cache, caches[0].action, caches[0].reason.code],
      [1, "disk", "excluded", "exclude-rule"],
    );
    assert.deepEqual(picks, [{ name: "app", chain: [paths.app, paths.lib] }]);
  });

  it("tells which path of --for cannot be selected, and explains by the others", async () => {
    const { status, stdout, stderr } = await run(
      "why",
      "--json",
      "--to",
      "disk",
      "lib",
      "--for",
      paths.app,
      "--for",
      "./nothing",
    );
    const { paths: explained, rejected } = JSON.parse(stdout);
    assert.deepEqual([status, explained[0].path], [1, paths.lib], stderr);
    assert.deepEqual(
      rejected.map(({ input, error }: { input: string; error: { code: string } }) => [
        input,
        error.code,
      ]),
      [["./nothing", "NOT_A_STORE_PATH"]],
    );
    assert.match(stderr, /Cannot select ".\/nothing": it does not exist/);
  });

  it("says that nothing needs a path, and guesses what was meant", async () => {
    const { status, stdout, stderr } = await run("why", "toool");
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /Nothing that is looked at needs "toool"/);
    assert.match(stderr, /Did you mean tool\?/);
  });
});
