import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { CrashProxy } from "../crash/crash-proxy.ts";
import { BUNDLE, resultOf, startHandpick } from "../handpick.ts";
import { APP_CLOSURE, LiveRig, onceOnly, told } from "./live-rig.ts";

const INTERRUPTED_MS = 4_000;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("handpick exec and signals", { timeout: 60_000, skip: onceOnly }, () => {
  let rig: LiveRig;
  /** Holds up what goes to the cache once it is told to. */
  let proxy: CrashProxy;
  let tags = 0;
  before(async () => {
    rig = await LiveRig.create();
    proxy = await CrashProxy.start(rig.serve.url);
    await rig.moveCache(proxy.url, `[builds]\ninclude = ["app-*"]\n`);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    tags += 1;
    proxy.before = undefined;
  });

  /** A command that builds the toys, says so, and does something. */
  async function command(rest: string): Promise<string[]> {
    const script = `${rig.building(`s${tags}`, "app").join(" ")}\n${rest}\n`;
    await writeFile(join(rig.nix.dir, "command"), script);
    return ["sh", "command"];
  }

  /** A session of its own has no terminal that would send signals to all of it. */
  const start = (words: readonly string[]): ReturnType<typeof startHandpick> =>
    startHandpick(rig.nix, ["exec", "--", ...words], { env: rig.env, detached: true });

  function hang(): Promise<void> {
    const reached = Promise.withResolvers<void>();
    proxy.before = async () => {
      reached.resolve();
      await new Promise(() => undefined);
    };
    return reached.promise;
  }

  it("passes them on, waits for the command, and pushes what it built", async () => {
    const loop = "echo ready; while :; do sleep 0.02; done";
    for (const [signal, name] of [
      ["SIGINT", "INT"],
      ["SIGTERM", "TERM"],
    ] as const) {
      tags += 1;
      const child = start(await command(`trap 'echo ${name}; exit 9' ${name}; ${loop}`));
      const ended = resultOf(child);
      await told(child.stdout, "ready");
      child.kill(signal);
      const { status, stdout, stderr } = await ended;
      assert.equal(status, 9, stderr);
      assert.match(stdout, new RegExp(`ready\n${name}\n$`));
      const served = (await rig.served()).filter((path) => path.includes(`-s${tags}`));
      assert.deepEqual(served, APP_CLOSURE(`s${tags}`));
      assert.deepEqual(await rig.leftovers(), []);
    }
  });

  it("leaves Ctrl-C of a terminal to the terminal, so that it comes once", async () => {
    const count = "n=0; trap 'n=$((n+1))' INT; echo ready";
    const wait = "i=0; while [ $i -lt 15 ]; do sleep 0.02; i=$((i+1)); done";
    const words = await command(`${count}; ${wait}; echo "$n times"; exit 5`);
    const line = ["exec", process.execPath, BUNDLE, "exec", "--", ...words].join(" ");
    const terminal = ["--quiet", "--return", "--command", line, "/dev/null"];
    const named = { HANDPICK_CONFIG: join(rig.nix.dir, "handpick.toml") };
    const env = { ...rig.nix.env, ...rig.env, ...named, SHELL: "/bin/sh", TERM: "xterm" };
    const child = spawn("script", terminal, { cwd: rig.nix.dir, env });
    const ended = resultOf(child);
    await told(child.stdout, "ready");
    child.stdin.write("\u0003");
    const { status, stdout } = await ended;
    assert.match(stdout, /1 times/);
    assert.equal(status, 5);
  });

  it("gives up pushing at the second, and still waits for the command", async () => {
    const reached = hang();
    const loop = "until test -e end; do sleep 0.02; done; exit 4";
    const words = await command(`trap 'echo again' INT; echo ready; ${loop}`);
    const child = start(words);
    const ended = resultOf(child);
    await Promise.all([told(child.stdout, "ready"), reached]);
    child.kill("SIGINT");
    await told(child.stdout, "again");
    child.kill("SIGINT");
    await told(child.stdout, "again");
    const startMs = performance.now();
    await writeFile(join(rig.nix.dir, "end"), "");
    const { status, stderr } = await ended;
    assert.equal(status, 4);
    assert.match(stderr, /^pushing stops$/m);
    assert.ok(performance.now() - startMs < INTERRUPTED_MS);
    assert.deepEqual(await rig.leftovers(), []);
  });

  it("gives up pushing at the first once the command has ended, with 130 if that went well", async () => {
    const reached = hang();
    const child = start(await command("echo $$ >pid; echo ready"));
    const ended = resultOf(child);
    await Promise.all([told(child.stdout, "ready"), reached]);
    const pid = Number(await readFile(join(rig.nix.dir, "pid"), "utf8"));
    while (isAlive(pid)) await sleep(10);
    const startMs = performance.now();
    child.kill("SIGINT");
    const { status, stderr } = await ended;
    assert.equal(status, 130);
    assert.match(stderr, /^0 pushed in .*, [1-3] not finished/m);
    assert.doesNotMatch(stderr, /nothing/);
    assert.ok(performance.now() - startMs < INTERRUPTED_MS);
    assert.deepEqual(await rig.leftovers(), []);
  });
});
