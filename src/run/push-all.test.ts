import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";

import { type FakeCachix, startFakeCachix } from "../../test/fakes/cachix.ts";
import { makeTasks } from "../../test/push-tasks.ts";
import { tempDir } from "../../test/temp.ts";
import { parseConfig } from "../config/config.ts";
import { HandpickError } from "../error.ts";
import { hashPartOf, nameOf, type StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import type { RunEvent, Summary } from "./events.ts";
import type { Gathered } from "./gather.ts";
import { planAll, pushAll, type PushAllOptions } from "./push-all.ts";

interface Rig extends AsyncDisposable {
  readonly fakes: Readonly<Record<"one" | "two", FakeCachix>>;
  readonly gathered: Gathered;
  readonly options: PushAllOptions;
  readonly events: RunEvent[];
  readonly warnings: string[];
  readonly top: StorePath;
  /** Takes the files out of the store. */
  readonly removeFiles: () => void;
}

/** Two caches for a path and the one that it refers to. */
async function createRig(
  rules = "",
  { two = 'token-env = "TOKEN"', contents }: { two?: string; contents?: Uint8Array } = {},
): Promise<Rig> {
  await using stack = new AsyncDisposableStack();
  const temp = stack.use(await tempDir());
  const fakes = { one: await startFakeCachix("one"), two: await startFakeCachix("two") };
  for (const fake of Object.values(fakes)) stack.defer(() => fake.close());
  const tasks = makeTasks(temp.dir, { lib: [], top: ["lib"] }, contents);
  const physical = new Map(tasks.map(({ info, physicalPath }) => [info.path, physicalPath]));
  const infos = new Map(tasks.map(({ info }) => [info.path, info]));
  const top = tasks.at(-1)?.info.path ?? assert.fail("there are no paths");
  const table = (name: "one" | "two", token: string): string =>
    `[caches.${name}]\nurl = "cachix://${name}"\nhost = "${fakes[name].url}"\n${token}\n`;
  const text = `${table("one", 'token-env = "TOKEN"')}${table("two", two)}${rules}`;
  const config = parseConfig(text, `${temp.dir}/handpick.toml`, {});
  const pick = {
    name: "top",
    paths: [top],
    closure: "runtime",
    exclude: [],
    pin: undefined,
  } as const;
  const planned = [{ ...pick, caches: ["one", "two"], members: new Set(infos.keys()) }];
  const events: RunEvent[] = [];
  const warnings: string[] = [];
  const kept = stack.move();
  return {
    fakes,
    events,
    warnings,
    top,
    removeFiles: () => {
      for (const { physicalPath } of tasks) rmSync(physicalPath);
    },
    gathered: {
      planned,
      infos,
      caches: config.caches,
      rejected: [],
      [Symbol.asyncDispose]: async () => undefined,
    },
    options: {
      config,
      store: { physicalPath: (path: StorePath) => physical.get(path) } as unknown as Store,
      env: { TOKEN: "fake-token", HOME: temp.dir },
      uid: process.getuid?.() ?? 0,
      signal: new AbortController().signal,
      packing: { threads: 1 },
      onEvent: (event) => events.push(event),
      onWarning: (warning) => warnings.push(warning),
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function summaries({ events }: Rig): Summary[] {
  return events.filter((event) => event.event === "summary");
}

function codes(failures: readonly unknown[]): string[] {
  return failures.map((one) => (one instanceof HandpickError ? one.code : String(one)));
}

function isThere(fake: FakeCachix, path: StorePath): boolean {
  return fake.service.isVisible(hashPartOf(path));
}

describe("pushAll()", () => {
  it("pushes to all caches, and ends with one summary over them", async () => {
    await using rig = await createRig();
    const end = await pushAll(rig.gathered, rig.options);
    assert.deepEqual([end.failures, end.troubled, end.summary.pushed], [[], 0, 4]);
    assert.equal(summaries(rig).length, 1);
    assert.equal(rig.events.at(-1)?.event, "summary");
    for (const fake of Object.values(rig.fakes)) assert.ok(isThere(fake, rig.top));
  });

  it("goes on with the others where one cache refuses, and counts its paths as failed", async () => {
    await using rig = await createRig();
    rig.fakes.two.service.permission = "Read";
    const { failures, summary } = await pushAll(rig.gathered, rig.options);
    assert.deepEqual(codes(failures), ["CACHE_READ_ONLY"]);
    assert.deepEqual([summary.pushed, summary.failed], [2, 0]);
    const told = rig.events.flatMap((one) => (one.event === "error" ? [one.error.code] : []));
    assert.deepEqual(told, ["CACHE_READ_ONLY"]);
    assert.ok(isThere(rig.fakes.one, rig.top));
  });

  it("goes on with the others where one cache cannot even be opened", async () => {
    await using rig = await createRig("", { two: 'token-file = "./absent"' });
    const { failures, summary } = await pushAll(rig.gathered, rig.options);
    assert.deepEqual(codes(failures), ["TOKEN_MISSING"]);
    assert.equal(summary.pushed, 2);
  });

  it("throws all reasons and tells no event where every cache fails at first", async () => {
    await using rig = await createRig();
    for (const fake of Object.values(rig.fakes)) fake.service.token = "revoked";
    await assert.rejects(pushAll(rig.gathered, rig.options), (error: AggregateError) => {
      assert.equal(error.errors.length, 2);
      return true;
    });
    assert.deepEqual(rig.events, []);
  });

  it('sends nothing to any cache while one holds something, with on-hole = "fail"', async () => {
    await using rig = await createRig('[rules]\nexclude = ["lib"]\non-hole = "fail"\n');
    const { summary, troubled } = await pushAll(rig.gathered, rig.options);
    assert.deepEqual([summary.pushed, summary.failed, summary.held, troubled], [0, 0, 2, 2]);
    for (const fake of Object.values(rig.fakes)) assert.equal(fake.of("begin").length, 0);
  });

  it("starts with one cache while another one hangs, and ends when it is told to", async () => {
    await using rig = await createRig();
    const hanging = rig.fakes.two.next("missing");
    const release = hanging.hold();
    const stop = new AbortController();
    const pushed = Promise.withResolvers<void>();
    const onEvent = (event: RunEvent): void => {
      rig.events.push(event);
      if (event.event === "pushed" && nameOf(event.path) === "top") pushed.resolve();
    };
    const options = { ...rig.options, signal: stop.signal, onEvent };
    const running = pushAll(rig.gathered, options);
    await pushed.promise;
    const reason = new DOMException("Interrupted", "AbortError");
    stop.abort(reason);
    await assert.rejects(running, reason);
    release();
    assert.deepEqual(
      rig.events
        .slice(-2)
        .map((event) => (event.event === "error" ? event.error.code : event.event)),
      ["INTERRUPTED", "summary"],
    );
    assert.equal(summaries(rig)[0]?.pushed, 2);
  });

  it("reads each path once, and does not wait for a cache that takes parts and never answers", async () => {
    await using rig = await createRig("", { contents: randomBytes(24 << 20) });
    const { one, two } = rig.fakes;
    const releases = Array.from({ length: 50 }, () => two.next("put").hold());
    const running = pushAll(rig.gathered, rig.options);
    while (!isThere(one, rig.top)) await setTimeout(10);
    const heldBytes = two.of("put").reduce((sum, { body }) => sum + body.length, 0);
    assert.ok(heldBytes > 0 && heldBytes <= 16 << 20, `${heldBytes} bytes are with the other`);
    rig.removeFiles();
    for (const release of releases) release();
    const { summary, failures } = await running;
    assert.deepEqual([failures, summary.pushed], [[], 4]);
    assert.ok(isThere(two, rig.top));
    assert.deepEqual([...one.violations, ...two.violations], []);
  });
});

describe("planAll()", () => {
  it("decides for each cache, sends nothing and warns", async () => {
    await using rig = await createRig();
    const { plan, failures } = await planAll(rig.gathered, rig.options);
    assert.deepEqual(
      plan.paths.map(({ cache, action, path }) => `${cache} ${action} ${nameOf(path)}`),
      ["one push lib", "one push top", "two push lib", "two push top"],
    );
    assert.deepEqual([plan.totals.push.paths, failures], [4, []]);
    for (const fake of Object.values(rig.fakes)) {
      assert.deepEqual(
        fake.requests.map(({ operation }) => operation),
        ["missing"],
      );
    }
  });

  it("leaves out a cache that fails, and throws where all do", async () => {
    await using rig = await createRig();
    rig.fakes.one.service.token = "revoked";
    const { plan, failures } = await planAll(rig.gathered, rig.options);
    assert.deepEqual([plan.paths.length, failures.length], [2, 1]);
    rig.fakes.two.service.token = "revoked";
    await assert.rejects(planAll(rig.gathered, rig.options), { name: "AggregateError" });
  });
});
