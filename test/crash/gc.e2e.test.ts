import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { access, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { isServed, resultOf, type ServeRig, startHandpick, startServe } from "../handpick.ts";
import { createTestNix, type TestNix } from "../nix.ts";
import { CrashProxy } from "./crash-proxy.ts";

interface Event {
  readonly event: string;
  readonly path?: string;
  readonly error?: { readonly code: string };
  readonly reason?: { readonly code: string };
}

/** A store whose paths have no roots, so that a collector takes whatever a push does not hold. */
interface Way {
  /** Arguments by which push and collector reach the store. */
  readonly store: () => readonly string[];
}

describe("handpick push beside a garbage collector", { timeout: 120_000 }, () => {
  let nix: TestNix;
  let serve: ServeRig;
  let proxy: CrashProxy;
  let socket: string;
  before(async () => {
    nix = await createTestNix({ root: true });
    serve = await startServe(nix, { args: ["--listen", "0.0.0.0:0"] });
    proxy = await CrashProxy.start(serve.url);
    ({ socket } = await nix.startDaemon());
    const cache = `[caches.mine]\nurl = "cachix://mine"\nhost = "${proxy.url}"\ntoken-env = "T"\n`;
    await writeFile(join(nix.dir, "proxy.toml"), cache);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await serve[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  const ways: Readonly<Record<string, Way>> = {
    "through a daemon": { store: () => ["--store", `unix://${socket}?root=${nix.dir}/root`] },
    "in a chroot store without daemon": { store: () => [] },
  };

  /** Files that refer to each other as the expression says. */
  async function evaluate(expression: string): Promise<Record<string, string>> {
    const args = ["--eval", "--json", "--strict", "--read-write-mode", "-E", expression];
    const { stdout } = await nix.run("nix-instantiate", args);
    return JSON.parse(stdout) as Record<string, string>;
  }

  async function collect({ store }: Way): Promise<void> {
    await nix.run("nix-store", [...store(), "--gc"]);
  }

  async function isThere(path = ""): Promise<boolean> {
    const valid = await nix.run("nix-store", ["--check-validity", path], { allowFailure: true });
    const file = access(join(nix.dir, "root", path)).then(
      () => true,
      () => false,
    );
    return valid.status === 0 && (await file);
  }

  function startPush(way: Way, inputs: readonly string[]): ReturnType<typeof startHandpick> {
    const args = ["push", "--json", "--config", "proxy.toml", ...way.store(), ...inputs];
    return startHandpick(nix, args, { env: { T: serve.token } });
  }

  async function push(
    way: Way,
    inputs: readonly string[],
  ): Promise<{ status: number; events: Event[]; stderr: string }> {
    const { status, stdout, stderr } = await resultOf(startPush(way, inputs));
    const lines = stdout.trimEnd().split("\n");
    return { status, stderr, events: lines.map((line) => JSON.parse(line) as Event) };
  }

  /** A daemon notices some time later that a connection was closed; a dead push is like that too. */
  async function assertCollectable(way: Way, path: string): Promise<void> {
    for (let left = 20; left > 0 && (await isThere(path)); left -= 1) await collect(way);
    assert.ok(!(await isThere(path)), `${path} is still held`);
  }

  for (const [name, way] of Object.entries(ways)) {
    it(`keeps what it pushes, ${name}`, async () => {
      const tag = randomBytes(8).toString("hex");
      const { lib, app, other, rubbish } = await evaluate(`rec {
        lib = builtins.toFile "lib" "library ${tag}";
        app = builtins.toFile "app" "program with \${lib}";
        other = builtins.toFile "other" "other ${tag}";
        rubbish = builtins.toFile "rubbish" "nobody wants ${tag}";
      }`);
      assert.ok(lib && app && other && rubbish);
      let collections = 0;
      proxy.before = async (step) => {
        if (step !== "begin" && step !== "part" && step !== "complete") return;
        collections += 1;
        await collect(way);
      };
      const { status, stderr, events } = await push(way, [app, other]);
      proxy.before = undefined;
      assert.equal(status, 0, stderr + JSON.stringify(events));
      assert.equal(collections, 9);
      assert.ok(!(await isThere(rubbish)), "the collector took what nobody holds");
      for (const path of [lib, app, other]) assert.ok(await isServed(serve, path));
      await assertCollectable(way, app);
    });

    it(`keeps what it pushes of a build closure, ${name}`, async () => {
      const tag = randomBytes(8).toString("hex");
      const contents = `fetched ${tag}`;
      await writeFile(join(nix.dir, "source"), contents);
      const hash = (
        await nix.run("nix-hash", ["--flat", "--type", "sha256", join(nix.dir, "source")])
      ).stdout.trim();
      const { app } = await evaluate(`let
          base = { system = "x86_64-linux"; builder = "/bin/sh"; };
          source = derivation (base // { name = "source"; outputHash = "${hash}";
            outputHashAlgo = "sha256"; outputHashMode = "flat"; });
          script = builtins.toFile "script" "build ${tag}";
        in { app = (derivation (base // { name = "app"; args = [ script source ]; })).drvPath; }`);
      const added = await nix.run("nix-store", ["--add-fixed", "sha256", join(nix.dir, "source")]);
      const source = added.stdout.trim();
      assert.ok(app);
      const picks = [{ name: "app", paths: [app], closure: "build" }];
      const file = join(nix.dir, "build.json");
      await writeFile(file, JSON.stringify({ version: 1, name: "build", picks }));
      proxy.before = async (step) => {
        if (step === "begin") await collect(way);
      };
      const { status, stderr, events } = await push(way, [file]);
      proxy.before = undefined;
      assert.equal(status, 0, stderr + JSON.stringify(events));
      const pushed = events.flatMap(({ event, path }) => (event === "pushed" ? [path] : []));
      // The derivation, its script, the source's derivation, and the source itself.
      assert.equal(pushed.length, 4);
      for (const path of [app, source]) assert.ok(await isServed(serve, path), path);
      await assertCollectable(way, source);
    });

    it(`holds nothing any more once it was killed, ${name}`, async () => {
      const path = await nix.add("orphan", randomBytes(8).toString("hex"));
      const begun = Promise.withResolvers<void>();
      const released = Promise.withResolvers<void>();
      proxy.before = async (step) => {
        if (step !== "begin") return;
        begun.resolve();
        await released.promise;
      };
      const child = startPush(way, [path]);
      const ended = resultOf(child);
      await begun.promise;
      await collect(way);
      const wasHeld = await isThere(path);
      child.kill("SIGKILL");
      await ended;
      assert.ok(wasHeld, `${path} was collected while it was pushed`);
      await assertCollectable(way, path);
      proxy.before = undefined;
      released.resolve();
    });

    it(`reports a path that went before it was read, and goes on, ${name}`, async () => {
      const tag = randomBytes(8).toString("hex");
      const { lib, app, other } = await evaluate(`rec {
        lib = builtins.toFile "lib" "library ${tag}";
        app = builtins.toFile "app" "program with \${lib}";
        other = builtins.toFile "other" "other ${tag}";
      }`);
      assert.ok(lib && app && other);
      // As a collector does that had chosen the path before the push asked for it.
      let removal: Promise<void> | undefined;
      proxy.before = async (step) => {
        if (step === "begin") await (removal ??= rm(join(nix.dir, "root", lib)));
      };
      const { status, events } = await push(way, [app, other]);
      proxy.before = undefined;
      const ends = events.flatMap(({ event, path, error, reason }) =>
        path === undefined || event === "start" || event === "sent"
          ? []
          : [[path, event, error?.code ?? reason?.code]],
      );
      assert.deepEqual(
        new Set(ends.map(String)),
        new Set([
          `${lib},failed,STORE_PATH_GONE`,
          `${app},held,reference-failed`,
          `${other},pushed,`,
        ]),
      );
      assert.equal(status, 1);
      assert.deepEqual([await isServed(serve, app), await isServed(serve, other)], [false, true]);
    });
  }
});
