import assert from "node:assert/strict";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { BUNDLE, handpick, isServed, type ServeRig, startServe } from "../handpick.ts";
import { NO_FULL_DISK, onFullDisk } from "../hook/hook-rig.ts";
import { NOBODY } from "../ordinary-user.ts";
import { SyncRig } from "./sync-rig.ts";

const USER = ["--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups"];
/** Makes a command one of an ordinary user's. */
const AS_NOBODY = process.getuid?.() === 0 ? ["setpriv", ...USER] : [];

/** Troubles that keep a sync from what a hook left; others are in the tests beside this one. */
describe("handpick status names the trouble, and a sync makes up for it once it is over", () => {
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

  it("of no token", { timeout: 60_000 }, async () => {
    const { data } = await rig.declare("home", [{ packages: ["data"] }]);
    const file = join(rig.nix.dir, "handpick.toml");
    const config = await readFile(file, "utf8");
    await writeFile(file, config.replace(/token-file = .*/, ""));
    assert.equal((await rig.sync()).status, 3);
    const [mine] = (await rig.status()).caches;
    assert.ok(["TOKEN_MISSING", "CACHE_NOT_FOUND"].includes(mine?.trouble?.code ?? ""));
    await writeFile(file, config);
    await rig.synced();
    assert.ok(await isServed(serve, data));
    assert.equal((await rig.status()).caches[0]?.trouble, undefined);
  });

  it("of a folder that cannot be written, or made", async () => {
    const above = join(rig.nix.dir, "above");
    await mkdir(join(above, "state"), { recursive: true });
    await chmod(join(above, "state"), 0o555);
    await chmod(above, 0o555);
    for (const name of ["state", "missing/state"]) {
      const command = [process.execPath, BUNDLE, "status"];
      const [program = "", ...args] = [...AS_NOBODY, ...command];
      const env = { HANDPICK_STATE_DIR: join(above, name), NODE_V8_COVERAGE: "" };
      const { stdout } = await rig.nix.run(program, args, { env });
      assert.match(stdout, /\nsync fails: .*: permission denied \[FILE_UNUSABLE\]\n/, name);
    }
    await chmod(above, 0o755);
    await chmod(join(above, "state"), 0o755);
  });

  it("of a full disk", { timeout: 60_000 }, async (t) => {
    const { data } = await rig.declare("unused", [{ packages: ["data"] }]);
    const { manifest } = await rig.select("home", [{ packages: ["data"] }]);
    const run = (args: string): string => `${process.execPath} ${BUNDLE} ${args}; echo "= $?"`;
    const script = [
      `cd ${rig.nix.dir}; exec 2>&1`,
      `rm ${rig.state}/filler`,
      `mkdir ${rig.state}/wanted ${rig.state}/spool; ln -s ${manifest} ${rig.state}/wanted/home`,
      `: >${rig.state}/spool/wanted-home`,
      `cat /dev/zero >${rig.state}/filler`,
      run("sync"),
      run("status"),
      `ls -A ${rig.state}/spool`,
      `rm ${rig.state}/filler`,
      run("sync --json"),
      run("status --json"),
    ].join("\n");
    const named = { HANDPICK_CONFIG: join(rig.nix.dir, "handpick.toml") };
    const env = { ...rig.nix.env, ...rig.env, ...named };
    const disk = { dir: rig.state, lacks: "bytes", size: "8m" } as const;
    const result = await onFullDisk(disk, script, env);
    if (result === undefined) return t.skip(NO_FULL_DISK);
    const { stdout } = result;
    assert.match(stdout, /FILE_UNUSABLE[^]*= 2\n[^]*sync fails[^]*the disk is full[^]*= 0\n/);
    assert.match(stdout, /"event":"summary","pushed":1.*\n= 0\n.*\n= 0\n$/);
    assert.ok(await isServed(serve, data));
    assert.doesNotMatch(stdout.trimEnd().split("\n").at(-2) ?? "", /"trouble"/);
  });

  it("of a folder that is a file", async () => {
    const env = { HANDPICK_STATE_DIR: "/dev/null" };
    for (const command of ["sync", "status"]) {
      const { status, stderr } = await handpick(rig.nix, [command], { env });
      assert.deepEqual([command, status], [command, 2]);
      assert.match(stderr, /FILE_UNUSABLE/);
    }
  });
});
