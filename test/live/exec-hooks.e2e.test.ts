import assert from "node:assert/strict";
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { BUNDLE, handpick } from "../handpick.ts";
import type { RunResult } from "../nix.ts";
import { NOBODY } from "../ordinary-user.ts";
import { APP_CLOSURE, LiveRig } from "./live-rig.ts";

const isRoot = process.getuid?.() === 0;

describe("handpick exec where a post-build-hook is configured", { timeout: 60_000 }, () => {
  it("has that one run as well, and fails a build where it does", async () => {
    await using rig = await LiveRig.create();
    const theirs = join(rig.nix.dir, "their-hook");
    const script = `#!/bin/sh\necho "$DRV_PATH $OUT_PATHS" >>${rig.nix.dir}/theirs\ncase $DRV_PATH in *bad*) exit 3 ;; esac\n`;
    await writeFile(theirs, script, { mode: 0o755 });
    await appendFile(join(rig.nix.dir, "etc/nix.conf"), `post-build-hook = ${theirs}\n`);
    const good = await rig.exec("-i", "app-*", "--", ...rig.building("good", "app"));
    assert.equal(good.status, 0, good.stderr);
    assert.match(good.stderr, /found by a post-build-hook/);
    const told = (await readFile(join(rig.nix.dir, "theirs"), "utf8")).split("\n");
    assert.deepEqual(
      told.map((line) => /-([a-z]+-good)\.drv/.exec(line)?.[1]),
      ["lib-good", "app-good", undefined],
    );
    const [program = "", ...args] = rig.building("bad", "lib");
    const plain = await rig.nix.run(program, args, { allowFailure: true });
    const bad = await rig.exec("-i", "*", "--", ...rig.building("bad2", "lib"));
    assert.notEqual(plain.status, 0);
    assert.equal(bad.status, plain.status);
    assert.deepEqual(await rig.served(), [...APP_CLOSURE("good"), "lib-bad2"].toSorted());
  });

  it("watches the store where no hook of ours could be run", async () => {
    await using rig = await LiveRig.create();
    const TMPDIR = join(rig.nix.dir, "tmp/with space");
    await mkdir(TMPDIR, { mode: 0o777 });
    const words = ["exec", "-i", "app-*", "--via", "hook", "--", ...rig.building("1", "app")];
    const result = await handpick(rig.nix, words, { env: { ...rig.env, TMPDIR } });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stderr, /found by watching the store/);
    assert.deepEqual(await rig.served(), APP_CLOSURE("1"));
  });
});

describe("handpick exec with a daemon", { timeout: 60_000 }, () => {
  let rig: LiveRig;
  /** True if this Nix tells whom it trusts. */
  let isTelling: boolean;
  let tags = 0;
  before(async () => {
    rig = await LiveRig.create();
    // Not by the file of the token, which its owner alone may read.
    const config = `[caches.mine]\nurl = "cachix://mine"\nhost = "${rig.serve.url}"\ntoken-env = "T"\n`;
    await writeFile(join(rig.nix.dir, "handpick.toml"), config);
    const { stdout } = await rig.nix.run("nix-store", ["--version"]);
    const [, major, minor] = /(\d+)\.(\d+)/.exec(stdout) ?? [];
    isTelling = Number(major) > 2 || Number(minor) >= 15;
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
  });

  /** Runs exec as a user of a daemon that trusts these users besides its own. */
  async function exec(
    options: readonly string[],
    trusted: string,
    uid: number,
  ): Promise<RunResult> {
    tags += 1;
    const conf = join(rig.nix.dir, "etc/nix.conf");
    const before = await readFile(conf, "utf8");
    await appendFile(conf, `trusted-users = root ${trusted}\n`);
    const daemon = await rig.nix.startDaemon();
    try {
      const store = `unix://${daemon.socket}?root=${rig.nix.dir}/root`;
      const words = [...options, "--", ...rig.building(`d${tags}`, "app", "data")];
      return await rig.nix.run(process.execPath, [BUNDLE, "exec", "-i", "app-*", ...words], {
        uid,
        gid: uid,
        env: {
          T: rig.serve.token,
          HANDPICK_CONFIG: join(rig.nix.dir, "handpick.toml"),
          NIX_REMOTE: store,
          NODE_V8_COVERAGE: "",
        },
        allowFailure: true,
      });
    } finally {
      await daemon.stop();
      await writeFile(conf, before);
    }
  }

  async function assertPushed(result: RunResult, words: string): Promise<void> {
    assert.equal(result.status, 0, result.stderr);
    assert.ok(result.stderr.includes(`found by ${words}`), result.stderr);
    const served = (await rig.served()).filter((name) => name.includes(`-d${tags}`));
    assert.deepEqual(served, APP_CLOSURE(`d${tags}`), result.stderr);
    assert.deepEqual(await rig.leftovers(), []);
  }

  const skip = !isRoot && "only root can be another user than the daemon's";

  it("has the daemon run a hook of a trusted user's own, as root", { skip }, async () => {
    const way = isTelling ? [] : ["--via", "hook"];
    await assertPushed(await exec(way, "nobody", NOBODY), "a post-build-hook");
  });

  it("watches the store for a user that the daemon does not trust", { skip }, async () => {
    await assertPushed(await exec([], "", NOBODY), "watching the store");
  });

  it(
    "goes by what the daemon tells root, and watches where it tells nothing",
    { skip },
    async () => {
      const words = isTelling ? "a post-build-hook" : "watching the store";
      await assertPushed(await exec([], "", 0), words);
    },
  );
});
