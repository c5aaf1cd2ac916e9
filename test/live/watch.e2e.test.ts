import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { CrashProxy } from "../crash/crash-proxy.ts";
import { NOBODY } from "../ordinary-user.ts";
import { BUNDLE, handpick, isServed, type Result, resultOf, startServe } from "../handpick.ts";
import { APP_CLOSURE, LiveRig, onceOnly } from "./live-rig.ts";

const READY = "not substituted or copied paths";

/** A watch at work, and how it ends. */
interface Watching {
  readonly process: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Result>;
  /** Waits until it has said something, be it before this was asked. */
  says(words: string): Promise<void>;
}

function watchingBy(process: ChildProcessWithoutNullStreams): Watching {
  let text = "";
  const heard = new EventEmitter();
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      text += String(chunk);
      heard.emit("more");
    });
  }
  const says = async (words: string): Promise<void> => {
    while (!text.includes(words)) await once(heard, "more");
  };
  return { process, ended: resultOf(process), says };
}

describe("handpick watch", { timeout: 60_000 }, () => {
  let rig: LiveRig;
  let tags = 0;
  let tag: string;
  before(async () => {
    rig = await LiveRig.create();
  });
  after(async () => {
    await rig[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    tag = `w${++tags}`;
  });

  async function watch(...options: string[]): Promise<Watching> {
    const watching = watchingBy(rig.start("watch", "-i", "app-*", ...options));
    await watching.says(READY);
    return watching;
  }

  async function build(...packages: string[]): Promise<string> {
    const [program = "", ...args] = rig.building(tag, ...packages);
    return (await rig.nix.run(program, args)).stdout.trim();
  }

  async function servedOf(tag: string): Promise<string[]> {
    return (await rig.served()).filter((name) => name.split("-").includes(tag));
  }

  async function interrupt({ process, ended }: Watching): Promise<Result> {
    process.kill("SIGINT");
    return await ended;
  }

  it("pushes exactly what the rules accept, says what that is, and ends with 0", async () => {
    await writeFile(join(rig.nix.dir, `app-${tag}-copied`), "not built");
    const watching = await watch();
    await rig.nix.run("nix-store", ["--add", `app-${tag}-copied`]);
    await build("tool", "data");
    await watching.says("3 pushed");
    const { status, stdout, stderr } = await interrupt(watching);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /pushed to mine: app-\*, paths of wanted selections\n/);
    assert.match(
      stderr,
      /seen: builds of every user of this machine; not substituted or copied paths/,
    );
    assert.match(stdout, /^3 pushed \(\d+ B\) in .*\n$/);
    assert.deepEqual(await servedOf(tag), APP_CLOSURE(tag));
  });

  it("pushes what is brought in only where it is told to", async () => {
    await writeFile(join(rig.nix.dir, `app-${tag}-copied`), "not built");
    const watching = watchingBy(
      rig.start("watch", "-i", "app-*", "--substituted", "--json", "--quiet"),
    );
    await watching.says("all new paths of the store, of every user");
    await rig.nix.run("nix-store", ["--add", `app-${tag}-copied`]);
    await watching.says('"event":"summary"');
    const { stdout } = await interrupt(watching);
    const events = stdout.trim().split("\n");
    assert.deepEqual(
      events.map((line) => (JSON.parse(line) as { event: string }).event),
      ["plan", "start", "sent", "pushed", "summary"],
    );
    assert.deepEqual(await servedOf(tag), [`app-${tag}-copied`]);
  });

  it("refuses to watch where no rule accepts anything, or there is no cache", async () => {
    const run = (...args: string[]): Promise<Result> =>
      handpick(rig.nix, ["watch", ...args], {
        env: { HANDPICK_STATE_DIR: `${rig.nix.dir}/empty` },
      });
    const nothing = await run();
    assert.equal(nothing.status, 2);
    assert.match(nothing.stderr, /no rule accepts anything of it \[USAGE\]\n {2}Set include/);
    await writeFile(join(rig.nix.dir, "empty.toml"), "");
    const nowhere = await run("-c", "empty.toml", "-i", "app-*");
    assert.equal(nowhere.status, 2);
    assert.match(nowhere.stderr, /\[CACHE_UNKNOWN\]/);
  });

  it("begins now, or with --resume where the last one stood", async () => {
    await interrupt(await watch());
    const [before, after] = [tag, `${tag}b`];
    await build("app");
    const fromNow = await watch();
    tag = after;
    await build("app");
    await fromNow.says("3 pushed");
    fromNow.process.kill("SIGKILL");
    await fromNow.ended;
    assert.deepEqual(await servedOf(before), []);
    tag = `${before}c`;
    await build("app");
    const resumed = await watch("--resume");
    await resumed.says("3 pushed");
    await interrupt(resumed);
    assert.deepEqual(await servedOf(tag), APP_CLOSURE(tag));
  });

  it("keeps what it accepted while the cache is down, also if it is killed, and pushes it later", async () => {
    await using proxy = await CrashProxy.start(rig.serve.url);
    await rig.moveCache("http://127.0.0.1:9");
    const watching = await watch();
    const first = tag;
    await build("app");
    await watching.says("[NETWORK]");
    watching.process.kill("SIGKILL");
    await watching.ended;
    await rig.moveCache(proxy.url);
    {
      using ledger = new DatabaseSync(join(rig.state, "ledger.sqlite"));
      const builds = ledger.prepare("SELECT count(*) AS count FROM builds").get();
      assert.deepEqual({ ...builds }, { count: 2 });
    }
    const again = await watch("--resume");
    await again.says("3 pushed");
    await interrupt(again);
    assert.deepEqual(await servedOf(first), APP_CLOSURE(first));
    await rig.moveCache(rig.serve.url);
  });

  it("pushes what a wanted selection names when that comes to be", { skip: onceOnly }, async () => {
    const evaluate = ["--eval", "--json", "toy.nix", "-A", "data.outPath", "--argstr", "tag", tag];
    const path: unknown = JSON.parse((await rig.nix.run("nix-instantiate", evaluate)).stdout);
    const picks = [{ name: "data", paths: [path] }];
    const text = JSON.stringify({ version: 1, name: "me", picks });
    const manifest = await rig.nix.add("handpick-me.json", text);
    await mkdir(join(rig.state, "wanted"), { recursive: true, mode: 0o700 });
    await symlink(manifest, join(rig.state, "wanted/me"));
    const watching = watchingBy(rig.start("watch"));
    await watching.says(READY);
    await build("data");
    await watching.says("1 pushed");
    await interrupt(watching);
    assert.deepEqual(await servedOf(tag), [`data-${tag}`]);
  });

  it("has a damaged ledger replaced, and pushes what came meanwhile", async () => {
    const watching = await watch();
    await build("app");
    await watching.says("3 pushed");
    const ledger = join(rig.state, "ledger.sqlite");
    const bytes = await readFile(ledger);
    await writeFile(ledger, bytes.fill(0x5a, 100));
    tag = `${tag}b`;
    await build("app");
    await watching.says("the ledger was damaged; a new one is made");
    for (const name of APP_CLOSURE(tag)) await watching.says(name);
    const { status, stderr } = await interrupt(watching);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await servedOf(tag), APP_CLOSURE(tag));
  });

  it("takes its turn where another sync is at work", { skip: onceOnly }, async () => {
    await using proxy = await CrashProxy.start(rig.serve.url);
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await gate.promise;
    };
    await rig.moveCache(proxy.url);
    const other = resultOf(rig.start("sync", "--recheck"));
    await reached.promise;
    const watching = await watch();
    await build("app");
    await sleep(300);
    assert.deepEqual(await servedOf(tag), []);
    gate.resolve();
    await other;
    while ((await servedOf(tag)).length < 3) await sleep(50);
    await interrupt(watching);
    await rig.moveCache(rig.serve.url);
  });

  const isRoot = process.getuid?.() === 0;
  const skip = !isRoot && "only root can be another user than the daemon's";
  it("shows an ordinary user what others build in a daemon", { skip }, async () => {
    const daemon = await rig.nix.startDaemon();
    const NIX_REMOTE = `unix://${daemon.socket}?root=${rig.nix.dir}/root`;
    // Not by the file of the token, which its owner alone may read.
    const config = join(rig.nix.dir, "others.toml");
    const cache = `[caches.mine]\nurl = "cachix://mine"\nhost = "${rig.serve.url}"\ntoken-env = "T"\n`;
    await writeFile(config, cache);
    const words = [BUNDLE, "watch", "-i", "app-*", "-c", config];
    const own = { T: rig.serve.token, HANDPICK_STATE_DIR: `${rig.nix.dir}/tmp/state` };
    const env = { ...rig.nix.env, ...own, NIX_REMOTE, NODE_V8_COVERAGE: "" };
    const options = { cwd: rig.nix.dir, env, uid: NOBODY, gid: NOBODY };
    const watching = watchingBy(spawn(process.execPath, words, options));
    await watching.says(READY);
    const [program = "", ...args] = rig.building(tag, "tool");
    await rig.nix.run(program, args, { env: { NIX_REMOTE } });
    await watching.says("3 pushed");
    await interrupt(watching);
    await daemon.stop();
    assert.deepEqual(await servedOf(tag), APP_CLOSURE(tag));
  });

  it("waits in silence", { skip: onceOnly }, async () => {
    const watching = await watch("--json");
    await once(watching.process.stdout, "data", { signal: AbortSignal.timeout(500) }).catch(
      () => undefined,
    );
    assert.equal((await interrupt(watching)).stdout, "");
  });

  it("lets no cache wait for another one that hangs", { skip: onceOnly }, async () => {
    await using proxy = await CrashProxy.start(rig.serve.url);
    await using other = await startServe(rig.nix, { name: "other" });
    proxy.before = () => new Promise(() => undefined);
    const tokenFile = join(rig.nix.dir, "cache-other/token");
    const more = `[caches.other]\nurl = "cachix://other"\nhost = "${other.url}"\ntoken-file = "${tokenFile}"\n`;
    await rig.moveCache(proxy.url, more);
    const watching = await watch();
    for (const round of ["a", "b"]) {
      tag = `${tag}${round}`;
      const path = (await build("app")).split("\n")[0] ?? "";
      while (!(await isServed(other, path))) await sleep(20);
    }
    assert.equal((await interrupt(watching)).status, 0);
    await rig.moveCache(rig.serve.url);
  });
});
