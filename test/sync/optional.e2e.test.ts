import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { startFakeCachix } from "../fakes/cachix.ts";
import type { FakeCachix } from "../fakes/cachix.ts";
import { handpick, type Result } from "../handpick.ts";
import { SyncRig } from "./sync-rig.ts";

describe("a cache that is optional", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let fake: FakeCachix;
  let token: string;

  before(async () => {
    fake = await startFakeCachix();
    fake.service.token = "fake-token";
  });
  beforeEach(async () => {
    rig = await SyncRig.create();
    token = join(rig.nix.dir, "token");
    fake.service.published.clear();
  });
  after(async () => {
    await fake.close();
  });

  async function configure(...lines: readonly string[]): Promise<void> {
    const settings = [`host = "${fake.url}"`, `token-file = "${token}"`, ...lines].join("\n");
    const table = `[caches.maybe]\nurl = "cachix://acme"\n${settings}\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), table);
  }
  const run = (...args: readonly string[]): Promise<Result> =>
    handpick(rig.nix, args, { env: rig.env });
  const publish = (): Promise<void> => writeFile(token, "fake-token", { mode: 0o600 });

  it("is asked nothing and told of by status only, until there is a token", async () => {
    await using _ = rig;
    await configure("optional = true");
    await rig.declare("home", [{ packages: ["app"] }]);
    const before = fake.requests.length;
    for (const args of [["sync"], ["sync", "--recheck"], ["sync", "--wait"]]) {
      const { status, stderr, stdout } = await run(...args);
      assert.deepEqual([status, stderr], [0, ""], stdout);
    }
    const { caches, idle, notice, selections } = await rig.status();
    assert.deepEqual([caches, idle, notice], [[], ["maybe"], undefined]);
    assert.equal(selections[0]?.trouble, undefined);
    assert.match((await run("status")).stdout, /^maybe: optional, and there is no token: nothing/m);
    assert.match(
      (await run("doctor")).stdout,
      /^ok +maybe: credentials: optional, and there is no/m,
    );
    assert.equal(fake.requests.length, before);
    await publish();
    assert.equal((await rig.synced()).pushed, 2);
    assert.deepEqual((await rig.status()).idle, []);
    await rm(token);
    assert.equal((await run("sync")).status, 0);
    assert.deepEqual((await rig.status()).idle, ["maybe"]);
  });

  it("is left out of a push to several, and fails alone", async () => {
    await using _ = rig;
    await configure(
      "optional = true",
      "[caches.other]",
      'url = "cachix://acme"',
      `host = "${fake.url}"`,
    );
    const { manifest, app } = await rig.declare("home", [{ packages: ["app"] }]);
    const env = { ...rig.env, CACHIX_AUTH_TOKEN: "" };
    const plan = await handpick(rig.nix, ["plan", "--json", manifest], { env });
    assert.deepEqual(namesIn(plan.stdout), ["other"], plan.stderr);
    assert.doesNotMatch(plan.stderr, /maybe/);
    const before = fake.requests.length;
    for (const args of [
      ["push", app],
      ["plan", "--to", "maybe", app],
      ["pin", "n", app],
    ]) {
      const { status, stderr } = await run(...args);
      assert.equal(status, 3, stderr);
      assert.match(stderr, /Cannot push to cache "maybe": no token \[TOKEN_MISSING\]/);
    }
    assert.equal(fake.requests.length, before);
  });

  it("does not make exec fail", async () => {
    await using _ = rig;
    await configure("optional = true");
    const file = join(rig.nix.dir, "added");
    await writeFile(file, "something");
    const before = fake.requests.length;
    const args = ["--strict", "--substituted", "--via", "store", "-i", "added", "--"];
    const { status, stderr } = await run("exec", ...args, "nix-store", "--add", file);
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stderr, /maybe|TOKEN/);
    assert.equal(fake.requests.length, before);
  });

  it("is every cache of a selection that says so", async () => {
    await using _ = rig;
    const folder = join(rig.nix.dir, "home/.config/cachix");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "cachix.dhall"), `{ hostname = "${fake.url}" }`, { mode: 0o600 });
    const hints = { optional: true };
    const caches = ["cachix://acme", "office"];
    const { manifest } = await rig.declare("shell", [{ packages: ["app"], caches, hints }]);
    const before = fake.requests.length;
    const quiet = await run("sync");
    assert.deepEqual([quiet.status, quiet.stderr], [0, ""]);
    const { idle, selections } = await rig.status();
    assert.deepEqual([idle, selections[0]?.trouble], [caches, undefined]);
    assert.equal(fake.requests.length, before);
    await rig.declare("strict", [{ packages: ["data"], caches: ["cachix://acme"] }]);
    assert.match((await run("sync")).stderr, /^cachix:\/\/acme: 1 left/m);
    await rig.withdraw("strict");
    const env = { ...rig.env, CACHIX_AUTH_TOKEN: "fake-token" };
    const pushed = await handpick(rig.nix, ["sync"], { env });
    assert.match(pushed.stdout, /^2 pushed/m, pushed.stderr);
    assert.deepEqual((await rig.status()).idle, ["office"]);
    const plan = await handpick(rig.nix, ["plan", "--json", manifest], { env });
    assert.deepEqual(namesIn(plan.stdout), ["cachix://acme"], plan.stderr);
  });
});

function namesIn(plan: string): string[] {
  const { paths } = JSON.parse(plan) as { readonly paths: readonly { readonly cache: string }[] };
  return [...new Set(paths.map(({ cache }) => cache))];
}
