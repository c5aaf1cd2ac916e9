import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { on } from "node:events";
import { chmod, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";

import type { Operation } from "../fakes/cachix-service.ts";
import { isServed, resultOf, startHandpick, startServe } from "../handpick.ts";
import type { Result, ServeRig } from "../handpick.ts";
import { createTestNix } from "../nix.ts";
import type { TestNix } from "../nix.ts";
import { passOn, startFaultProxy } from "./fault-proxy.ts";
import type { FaultProxy, Handler } from "./fault-proxy.ts";
import * as faults from "./faults.ts";

/** What happens to the first requests of a kind, in order; the rest pass. */
type Plays = Partial<Record<Operation, readonly Handler[]>>;

/** `handpick push` on its way to a real server through a proxy. */
interface Push extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly result: Promise<Result>;
  /** Settles once stderr has this in it. */
  told(words: string): Promise<void>;
  interrupt(): void;
  /** How many requests for these things there were. */
  counts(...operations: Operation[]): number[];
}

type Lines = AsyncIterable<[string]>;

describe("handpick push and a cache with a fault", { concurrency: 3, timeout: 120_000 }, () => {
  let nix: TestNix;
  let serve: ServeRig;
  let configs = 0;
  before(async () => {
    nix = await createTestNix({ root: true });
    serve = await startServe(nix);
  });
  after(async () => {
    await serve[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  async function start(plays: Plays, args: readonly string[], command = "push"): Promise<Push> {
    const seen = new Map<Operation, number>();
    const handle: Handler = async (exchange) => {
      const { operation } = exchange.request;
      const count = seen.get(operation) ?? 0;
      seen.set(operation, count + 1);
      await (plays[operation]?.[count] ?? passOn)(exchange);
    };
    const proxy = await startFaultProxy({ target: serve.url, handle });
    const file = join(nix.dir, `fault-${++configs}.toml`);
    const cache = `url = "cachix://mine"\nhost = "${proxy.url}"\ntoken-env = "T"`;
    await writeFile(file, `[caches.mine]\n${cache}\n`);
    const words = [command, "--config", file, ...args];
    const child = startHandpick(nix, words, { env: { T: serve.token } });
    child.stdin.end();
    return {
      proxy,
      result: resultOf(child),
      told: async (words) => {
        const lines = createInterface({ input: child.stderr });
        for await (const [line] of on(lines, "line", { close: ["close"] }) as Lines) {
          if (line.includes(words)) return;
        }
        assert.fail(`stderr ended without ${JSON.stringify(words)}`);
      },
      interrupt: () => void child.kill("SIGINT"),
      counts: (...operations) => operations.map((operation) => proxy.of(operation).length),
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    };
  }

  async function assertDone({ result }: Push): Promise<Result> {
    const ended = await result;
    assert.equal(ended.status, 0, ended.stderr);
    return ended;
  }

  /** A path of two parts. */
  const addLarge = (name: string): Promise<string> =>
    nix.add(name, randomBytes(9 << 20).toString("base64"));

  it("waits for the two seconds of Retry-After", async () => {
    const times: number[] = [];
    const timed =
      (play: Handler): Handler =>
      async (exchange) => {
        times.push(performance.now());
        await play(exchange);
      };
    const busy = faults.answering(429, { "retry-after": "2" });
    const path = await nix.add("two-seconds", "a");
    await using push = await start({ begin: [timed(busy), timed(passOn)] }, [path]);
    const { stderr } = await assertDone(push);
    const waitedMs = (times[1] ?? 0) - (times[0] ?? 0);
    assert.ok(waitedMs >= 1_990, `waited ${waitedMs} ms`);
    assert.match(stderr, /status 429; trying again in 2 s/);
  });

  it("ignores a Retry-After that is past", async () => {
    const past = faults.answering(503, { "retry-after": new Date(0).toUTCString() });
    await using push = await start({ begin: [past] }, [await nix.add("past", "a")]);
    assert.match((await assertDone(push)).stderr, /status 503; trying again in 1 s/);
  });

  it("waits at most 120 s, and can be interrupted meanwhile", async () => {
    const forever = faults.answering(503, { "retry-after": "100000" });
    await using push = await start({ begin: [forever] }, [await nix.add("forever", "a")]);
    await push.told("trying again in 120 s");
    push.interrupt();
    assert.equal((await push.result).status, 130);
  });

  it("goes through pages of HTML and problem documents, and shows none", async () => {
    const plays = { "part-url": [faults.html(502), faults.problem] };
    await using push = await start(plays, [await nix.add("pages", "a")]);
    const { stderr } = await assertDone(push);
    assert.match(stderr, /status 502; trying again/);
    assert.doesNotMatch(stderr, /<|Bad gateway/);
    assert.deepEqual(push.counts("begin", "part-url", "put"), [1, 3, 1]);
  });

  it("takes any 2xx, and JSON that does not say so", async () => {
    const other = (status: number): Handler =>
      faults.answeringAfter((answer) => ({ ...answer, status }));
    const plays: Plays = {
      info: [faults.untyped],
      missing: [faults.untyped],
      begin: [faults.untyped],
      "part-url": [faults.untyped],
      put: [other(201)],
      complete: [other(204)],
    };
    const path = await nix.add("other-success", "a");
    await using push = await start(plays, [path]);
    await assertDone(push);
    assert.deepEqual(push.counts("begin", "part-url", "put", "complete"), [1, 1, 1, 1]);
    assert.ok(await isServed(serve, path));
  });

  it("sends a part again whose connection is cut in the middle, and only that part", async () => {
    const path = await addLarge("cut-within");
    const plays: Plays = { put: [(exchange) => exchange.cutWithin(1 << 20)] };
    await using push = await start(plays, [path]);
    await assertDone(push);
    assert.deepEqual(push.counts("begin", "part-url", "put", "complete"), [1, 2, 3, 1]);
    assert.ok(await isServed(serve, path));
  });

  it("asks for a new URL when one has expired, for that part only", async () => {
    await using push = await start({ put: [faults.expired] }, [await addLarge("expired")]);
    await assertDone(push);
    assert.deepEqual(push.counts("begin", "part-url", "put", "complete"), [1, 3, 3, 1]);
  });

  it("uploads and pins nothing twice when it was done and not said", async () => {
    for (const [name, lose] of Object.entries({ cut: faults.lose, late: faults.htmlAfter(524) })) {
      const path = await nix.add(`unsaid-${name}`, "a");
      await using push = await start({ complete: [lose] }, [path]);
      const { stdout } = await assertDone(push);
      assert.match(stdout, /^1 pushed/);
      assert.deepEqual(push.counts("begin", "put", "complete"), [1, 1, 1]);
      await using pin = await start({ pin: [lose] }, [`pin-${name}`, path], "pin");
      await assertDone(pin);
      const list = await fetch(`${serve.url}/api/v1/cache/mine/pin`);
      const pins = (await list.json()) as { name: string; lastRevision: { revision: number } }[];
      const found = pins.find((one) => one.name === `pin-${name}`);
      assert.equal(found?.lastRevision.revision, 1);
    }
  });

  it("fails a part without ETag clearly, gives its upload up and pushes the rest", async () => {
    const paths = [await nix.add("tag-a", "a"), await nix.add("tag-b", "b")];
    await using push = await start({ put: [faults.withoutETag] }, paths);
    const { status, stdout, stderr } = await push.result;
    assert.equal(status, 1);
    assert.match(stdout, /^1 pushed .*1 failed/);
    assert.match(stderr, /CACHE_PROTOCOL: .* expected an ETag from the storage, received none/);
    assert.deepEqual(push.counts("put", "complete", "abort"), [2, 1, 1]);
    const served = await Promise.all(paths.map((path) => isServed(serve, path)));
    assert.equal(served.filter(Boolean).length, 1);
  });

  it("stops at a 401 to complete with one message, and sends nothing again", async () => {
    const path = await nix.add("refused", "a");
    await using push = await start({ complete: [faults.answering(401)] }, [path]);
    const { status, stderr } = await push.result;
    assert.equal(status, 3);
    assert.equal(stderr.match(/received 401/g)?.length, 1, stderr);
    assert.deepEqual(push.counts("begin", "put", "complete", "abort"), [1, 1, 1, 1]);
    assert.ok(!(await isServed(serve, path)));
  });

  it("stops at a 401 to the question what is missing, before any upload", async () => {
    const path = await nix.add("unasked", "a");
    await using push = await start({ missing: [faults.answering(401)] }, [path]);
    assert.equal((await push.result).status, 3);
    assert.deepEqual(push.counts("missing", "begin"), [1, 0]);
  });

  it("pushes once what the answer names twice, and nothing that it was not asked for", async () => {
    const path = await nix.add("named-twice", "a");
    await using push = await start({ missing: [faults.duplicated] }, [path]);
    assert.match((await assertDone(push)).stdout, /^1 pushed/);
    assert.deepEqual(push.counts("begin", "complete"), [1, 1]);
  });

  it("fails a path that is gone by then or has changed, and pushes the rest", async () => {
    const add = async (name: string): Promise<string> => nix.add(name, `contents of ${name}`);
    const paths = [await add("gone"), await add("changed"), await add("stays")];
    const files = paths.map((path) => join(nix.dir, "root", path));
    const damage: Handler = async (exchange) => {
      const [gone = "", changed = ""] = files;
      await rm(gone);
      await chmod(changed, 0o644);
      await writeFile(changed, "contents of chANged");
      await passOn(exchange);
    };
    await using push = await start({ missing: [damage] }, paths);
    const { status, stdout, stderr } = await push.result;
    assert.equal(status, 1);
    assert.match(stdout, /^1 pushed .*2 failed/);
    assert.match(stderr, /STORE_PATH_GONE/);
    assert.match(stderr, /STORE_PATH_CORRUPT/);
    assert.deepEqual(push.counts("complete", "abort"), [1, 2]);
    assert.deepEqual(await Promise.all(paths.map((path) => isServed(serve, path))), [
      false,
      false,
      true,
    ]);
  });

  it("does not count as pushed what the cache hides behind a path that failed", async () => {
    const expression = `let lib = builtins.toFile "hidden-lib" "lib";
      in builtins.toFile "hidden-app" "app of \${lib}"`;
    const options = ["--eval", "--read-write-mode", "-E", expression];
    const app = JSON.parse((await nix.run("nix-instantiate", options)).stdout) as string;
    const refuseLib: Handler = async (exchange) => {
      const isLib = (await exchange.body()).includes('hidden-lib","cNarHash');
      await (isLib ? faults.answering(400) : passOn)(exchange);
    };
    await using push = await start({ complete: [refuseLib, refuseLib] }, [app]);
    const { status, stdout, stderr } = await push.result;
    assert.equal(status, 1);
    assert.match(stdout, /^0 pushed, 1 held, 1 failed/);
    assert.match(stderr, /hidden-app .*held: is stored, but hidden until .*-hidden-lib is pushed/);
    assert.ok(!(await isServed(serve, app)));
    await using again = await start({}, [app]);
    assert.match((await assertDone(again)).stdout, /^1 pushed .*1 already there/);
    assert.ok(await isServed(serve, app));
  });
});
