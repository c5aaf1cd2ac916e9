import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Status } from "../src/sync/status.ts";
import { CrashProxy } from "./crash/crash-proxy.ts";
import { BUNDLE, handpick, isServed, type Result, type ServeRig, startServe } from "./handpick.ts";
import { NO_FULL_DISK, onFullDisk, runCommand } from "./hook/hook-rig.ts";
import { NOBODY } from "./ordinary-user.ts";
import { SyncRig } from "./sync/sync-rig.ts";
import { writeOldLedger } from "./version-0.1.0.ts";

const needsRoot = process.getuid?.() === 0 ? false : "only root can give files to others";
const PARTS = ["wanted", "spool", "queue", "roots", "ledger.sqlite", "lock", "due"];

describe("a state folder that others had their hands in", { timeout: 120_000 }, () => {
  let rig: SyncRig;
  let serve: ServeRig;
  before(async () => {
    rig = await SyncRig.create();
    serve = await startServe(rig.nix, { args: ["--listen", "0.0.0.0:0"] });
    await rig.configure({ mine: serve.url }, serve.token, '[builds]\ninclude = ["lead*"]\n');
    await rig.declare("home", [{ packages: ["lib"] }]);
    await rig.synced();
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  const run = (...args: string[]): Promise<Result> => handpick(rig.nix, args, { env: rig.env });
  const inState = (name: string): string => join(rig.state, name);

  async function refuses(pattern: RegExp, commands = ["sync", "status"]): Promise<void> {
    for (const command of commands) {
      const { status, stderr } = await run(command);
      assert.deepEqual([command, status], [command, 2], stderr);
      assert.match(stderr, /^handpick: Cannot use state folder "\/.*FILE_UNUSABLE\]\n {2}\S/);
      assert.match(stderr, pattern);
    }
  }

  for (const name of PARTS) {
    it(`touches nothing where a link in it leads: ${name}`, async () => {
      const victim = join(rig.nix.dir, "victim");
      await mkdir(join(victim, "deep"), { recursive: true });
      await writeFile(join(victim, "built-1"), "precious\n");
      await writeFile(join(victim, "deep/file"), "precious\n");
      const kept = inState(`../kept-${name}`);
      await rename(inState(name), kept).catch(() => undefined);
      const isFile = name.includes(".") || ["lock", "due"].includes(name);
      await symlink(isFile ? join(victim, "built-1") : victim, inState(name));
      await refuses(/found a link/);
      await refuses(/found a link/, ["watch"]);
      assert.deepEqual((await readdir(victim)).toSorted(), ["built-1", "deep"]);
      assert.equal(await readFile(join(victim, "built-1"), "utf8"), "precious\n");
      assert.deepEqual(await readdir(join(victim, "deep")), ["file"]);
      await rm(inState(name));
      await rename(kept, inState(name)).catch(() => undefined);
    });
  }

  it("gets a file of its own where a link is to stand for why syncs fail", async () => {
    const victim = join(rig.nix.dir, "victim-failure");
    await writeFile(victim, "precious\n");
    await rm(inState("failure"), { force: true });
    await symlink(victim, inState("failure"));
    assert.match((await run("sync")).stderr, /found a link/);
    assert.equal(await readFile(victim, "utf8"), "precious\n");
    assert.match((await run("status")).stdout, /\nsync fails for .*found a link/);
    await rig.synced();
    assert.equal((await rig.status()).trouble, undefined);
  });

  it("is refused where others may write in it", async () => {
    await chmod(rig.state, 0o777);
    await refuses(/found mode 0777.*\n.*chmod go-w /);
    const { status, stderr } = await run("exec", "-i", "none*", "--", "true");
    assert.equal(status, 0);
    assert.match(stderr, /selections are ignored: Cannot use state folder/);
    await chmod(rig.state, 0o700);
    await rig.synced();
  });

  it(
    "is one that root reads and does not work in where it is another's",
    { skip: needsRoot },
    async () => {
      await rig.declare("home", [{ packages: ["app"] }], "others");
      const owned = async (uid: number): Promise<void> => {
        for (const file of ["", ...(await readdir(rig.state))])
          await chown(inState(file), uid, uid);
      };
      await owned(NOBODY);
      const before = await readdir(rig.state);
      for (const command of ["sync", "watch"]) {
        const { status, stderr } = await run(command);
        assert.deepEqual([command, status], [command, 2]);
        assert.match(
          stderr,
          /expected one of user root, found one of user nobody.*\n.*sudo -u nobody handpick sync/,
        );
      }
      const { status, stdout } = await run("status");
      assert.deepEqual([status, await readdir(rig.state)], [0, before]);
      assert.match(stdout, /no sync has looked at it yet/);
      await owned(0);
      assert.equal((await rig.synced()).pushed, 2);
    },
  );

  it(
    "is told to be synced by a command that takes it, by its owner alone",
    { skip: needsRoot },
    async () => {
      await using own = await SyncRig.create();
      await own.configure({ mine: "http://127.0.0.1:1" }, "token");
      await own.declare("home", [{ packages: ["app"] }]);
      await own.sync();
      const status = async (): Promise<string> =>
        (await handpick(own.nix, ["status"], { env: own.env })).stdout;
      assert.match(await status(), /\n {2}next try in .*; handpick sync --recheck tries now\n/);
      for (const file of ["", ...(await readdir(own.state))]) {
        await chown(join(own.state, file), NOBODY, NOBODY);
      }
      assert.match(await status(), /\n {2}next try in [^;]*\n/);
    },
  );

  it("comes to rest whatever bytes names are of, and tells of folders once", async () => {
    for (const folder of ["spool", "queue"]) {
      for (const name of ["built-\xff", "wanted-\xff", "wanted-a\n", "built-\u00e9", "rubbish"]) {
        await writeFile(Buffer.from(`${inState(folder)}/${name}`, "latin1"), "");
      }
      await mkdir(inState(`${folder}/built-folder/deep`), { recursive: true });
    }
    await mkdir(inState("roots/x/deep"), { recursive: true });
    await mkdir(inState("wanted/folder"));
    execFileSync("mkfifo", [inState("spool/built-pipe")]);
    const { app } = await rig.declare("home", [{ packages: ["app"] }], "bytes");
    const { status, stderr } = await rig.sync();
    assert.equal(status, 0, stderr);
    assert.equal(stderr.match(/found a folder that is none of handpick's/g)?.length, 3);
    assert.deepEqual(await readdir(inState("spool")), []);
    assert.deepEqual(await readdir(inState("roots")), []);
    assert.ok(await isServed(serve, app));
    const again = await rig.sync();
    assert.doesNotMatch(again.stderr, /found a folder/);
    const aside = (await readdir(rig.state)).filter((name) => name.startsWith(".folder-"));
    for (const name of aside) {
      assert.deepEqual(await readdir(inState(name)), ["deep"], "what was in them is kept");
      await rm(inState(name), { recursive: true });
    }
    assert.equal(aside.length, 3);
    await rm(inState("wanted/folder"), { recursive: true });
  });

  it("is worked in although folders of it are removed meanwhile", async () => {
    await using proxy = await CrashProxy.start(serve.url);
    await rig.configure({ mine: proxy.url }, serve.token);
    const { tool } = await rig.declare("home", [{ packages: ["tool"] }], "removed");
    let isRemoved = false;
    proxy.before = async () => {
      if (isRemoved) return;
      isRemoved = true;
      for (const name of ["roots", "queue"]) await rm(inState(name), { recursive: true });
    };
    const { status, stderr } = await rig.sync();
    assert.equal(status, 0, stderr);
    assert.ok(isRemoved && (await isServed(serve, tool)));
    await rig.configure({ mine: serve.url }, serve.token, '[builds]\ninclude = ["lead*"]\n');
  });

  it("waits for no pipe that an output leads to", async () => {
    const pipe = join(rig.nix.dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    await symlink(pipe, join(rig.nix.dir, "leads.json"));
    const { stdout } = await rig.nix.run("nix-store", ["--add", join(rig.nix.dir, "leads.json")]);
    const path = stdout.trim();
    await rig.built("1", ["", path]);
    await rig.want("leads", path);
    const { status, stderr } = await rig.sync();
    assert.equal(status, 1, "the selection is unusable, and stays so");
    assert.match(stderr, /expected a link to a manifest in the Nix store, .*leads\.json is none/);
    assert.ok(await isServed(serve, path));
    await rig.withdraw("leads");
  });

  it("is gone through although something is mounted in it", async (t) => {
    const { data } = await rig.declare("home", [{ packages: ["data"] }], "mounted");
    const script = [
      `mkdir -p ${inState("spool/built-mount")} ${inState("roots/mount")}`,
      `: >${inState("spool/built-file")}`,
      `mount -t tmpfs none ${inState("spool/built-mount")} || exit 42`,
      `mount -t tmpfs none ${inState("roots/mount")}`,
      `mount --bind ${BUNDLE} ${inState("spool/built-file")}`,
      `cd ${rig.nix.dir}; ${process.execPath} ${BUNDLE} sync --config handpick.toml 2>&1; echo "= $?"`,
    ].join("\n");
    const user = process.getuid?.() === 0 ? [] : ["--map-root-user"];
    const env = { ...rig.nix.env, ...rig.env };
    const command = ["unshare", ...user, "--mount", "sh", "-c", script];
    const { status, stdout, stderr } = await runCommand(command, env);
    if (status === 42 || stderr.startsWith("unshare:"))
      return t.skip("nothing can be mounted here");
    assert.match(stdout, /\n= 0\n$/);
    assert.equal(stdout.match(/passed over "\S+": it cannot be moved/g)?.length, 3, stdout);
    assert.ok(await isServed(serve, data));
    await rig.synced();
  });

  it("tells no time that it cannot know where the clock was set", async () => {
    await rm(join(rig.nix.dir, "token"));
    await rig.declare("home", [{ packages: ["app"] }], "clock");
    await rig.sync();
    const ahead = Date.now() + 5 * 365 * 24 * 60 * 60_000;
    for (const time of [ahead, 1000]) {
      rig.ledger(`UPDATE caches SET failing_since = ${time}, next_at = ${ahead}`);
      rig.ledger(`UPDATE entries SET waiting_since = ${time}, pushed_at = ${ahead}`);
      rig.ledger(`UPDATE facts SET value = ${ahead} WHERE name = 'syncStarted'`);
      const { stdout } = await run("status");
      assert.doesNotMatch(stdout, / -\d|\d{3,} h|last pushed/);
      assert.match(stdout, /failing for 0\.\d s.*\n.*\n {2}next try at the next sync/);
      await rig.sync();
      const [cache] = (await rig.status()).caches;
      assert.ok(Date.now() - (cache?.failingSince ?? 0) < 60_000, "it is recorded as of now");
    }
    await rig.configure({ mine: serve.url }, serve.token);
    await rig.synced("--recheck");
  });

  it("is on a disk that is nearly full: sync may fail", async (t) => {
    const script = [
      `chmod 700 ${rig.state}; rm ${inState("filler")}`,
      `dd if=/dev/zero of=${inState("filler")} bs=1k count=7500 2>/dev/null`,
      `cd ${rig.nix.dir}; ${process.execPath} ${BUNDLE} status 2>&1`,
      `${process.execPath} ${BUNDLE} status --json`,
    ].join("\n");
    const disk = { dir: rig.state, lacks: "bytes", size: "8m" } as const;
    const result = await onFullDisk(disk, script, { ...rig.nix.env, ...rig.env });
    if (result === undefined) return t.skip(NO_FULL_DISK);
    assert.match(
      result.stdout,
      /\nsync may fail: .*expected 1\.0 MiB free, found \d+.* KiB.*\n {2}Make room/,
    );
    const { trouble, risk } = JSON.parse(result.stdout.trim().split("\n").at(-1) ?? "") as Status;
    assert.deepEqual([trouble, risk?.code], [undefined, "FILE_UNUSABLE"]);
  });

  it("takes over the ledger of 0.1.0", async () => {
    for (const name of await readdir(rig.state)) {
      if (name.startsWith("ledger")) await rm(inState(name));
    }
    await writeOldLedger(rig.state);
    const { stdout } = await run("status");
    assert.match(stdout, /\nmine: 3 pushed|\nmine: 1 failing, 3 pushed/);
    const { status, stderr } = await rig.sync();
    assert.equal(status, 0);
    assert.doesNotMatch(stderr, /ledger/);
    assert.deepEqual(
      (await rig.status()).caches.map(({ name }) => name),
      ["mine"],
    );
  });

  it("sets a newer ledger aside and uses its own again", async () => {
    await rig.synced();
    rig.ledger("PRAGMA user_version = 7");
    const { stdout } = await run("status");
    assert.match(stdout, /sync fails: .*expected schema 1, found 7 .*\n {2}Run handpick sync/);
    const { status, stderr } = await rig.sync();
    assert.equal(status, 0);
    assert.match(stderr, /that of a newer handpick \(schema 7\).*ledger\.sqlite\.v7\n/);
    assert.equal((await rig.status()).trouble, undefined);
  });
});
