import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type CachixRig, createCachixRig } from "../../test/cachix-rig.ts";
import { makeTasks } from "../../test/push-tasks.ts";
import { type TempDir, tempDir } from "../../test/temp.ts";
import { parseConfig } from "../config/config.ts";
import type { Pick } from "../nix/manifest.ts";
import { hashPartOf, nameOf, type StorePath } from "../nix/store-path.ts";
import type { PushTask } from "../push/push-paths.ts";
import { SharedPacker } from "../push/shared-packer.ts";
import type { Store } from "../store/store.ts";
import { type CacheRunOptions, runOpened } from "./cache-run.ts";
import type { RunEvent } from "./events.ts";
import type { OpenedCache } from "./open-caches.ts";

const NONE = {
  tokenSource: undefined,
  login: undefined,
  loginSource: undefined,
  doubts: [],
  keySource: undefined,
  host: undefined,
};

/** One cache, some paths that refer to each other, and what a run with them tells. */
class Rig implements AsyncDisposable {
  readonly events: RunEvent[] = [];
  readonly warnings: string[] = [];
  readonly cachix: CachixRig;
  readonly #temp: TempDir;
  readonly #tasks: readonly PushTask[];

  private constructor(cachix: CachixRig, temp: TempDir, tasks: readonly PushTask[]) {
    this.cachix = cachix;
    this.#temp = temp;
    this.#tasks = tasks;
  }

  static async create(graph: Readonly<Record<string, readonly string[]>>): Promise<Rig> {
    const temp = await tempDir();
    return new Rig(await createCachixRig(), temp, makeTasks(temp.dir, graph));
  }

  path(name: string): StorePath {
    const found = this.#tasks.find(({ info }) => nameOf(info.path) === name);
    return found?.info.path ?? assert.fail(`there is no ${name}`);
  }

  /** The ends of paths, in the order in which they came. */
  get ends(): string[] {
    return this.events.flatMap((event) =>
      "path" in event && event.event !== "start" && event.event !== "sent"
        ? [`${event.event} ${nameOf(event.path)}`]
        : [],
    );
  }

  async run({
    rules = "",
    pin,
    ...change
  }: Partial<CacheRunOptions> & { rules?: string; pin?: string } = {}): ReturnType<
    typeof runOpened
  > {
    const infos = new Map(this.#tasks.map(({ info }) => [info.path, info]));
    const members = new Set(infos.keys());
    const top = this.#tasks.at(-1)?.info.path ?? assert.fail("there are no paths");
    const pick: Pick = {
      name: "top",
      paths: [top],
      closure: "runtime",
      caches: ["mine"],
      exclude: [],
      pin,
    };
    const config = parseConfig(`[caches.mine]\nurl = "cachix://acme"\n${rules}`, "/c.toml", {});
    const [cache] = config.caches;
    assert.ok(cache);
    const opened: OpenedCache = {
      config: cache,
      cache: this.cachix.cache,
      credentials: { ...NONE, token: undefined, signingKeys: [], warnings: ["old token"] },
    };
    const physical = new Map(this.#tasks.map((task) => [task.info.path, task.physicalPath]));
    const store = { physicalPath: (path: StorePath) => physical.get(path) } as unknown as Store;
    await using packer = new SharedPacker({ threads: 1 });
    return await runOpened(
      opened,
      { planned: [{ ...pick, caches: ["mine"], members }], infos },
      {
        config,
        store,
        env: {},
        uid: 1000,
        signal: this.cachix.signal,
        packer,
        onEvent: (event) => this.events.push(event),
        onWarning: (text) => this.warnings.push(text),
        ...change,
      },
    );
  }

  calls(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { operation } of this.cachix.fake.requests) {
      counts[operation] = (counts[operation] ?? 0) + 1;
    }
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cachix[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }
}

const CHAIN = { libc: [], lib: ["libc"], top: ["lib"] };

describe("runOpened()", () => {
  it("tells the plan, pushes what the cache lacks, references first, and pins it", async () => {
    await using rig = await Rig.create(CHAIN);
    assert.equal(await rig.run({ pin: "release" }), undefined);
    const [plan] = rig.events;
    assert.deepEqual(
      plan?.event === "plan" && [plan.cache, plan.selected, plan.push, plan.present],
      ["mine", 3, 3, 0],
    );
    assert.deepEqual(rig.ends, ["pushed libc", "pushed lib", "pushed top", "pinned top"]);
    assert.deepEqual(rig.warnings, ["old token"]);
  });

  it("asks a cache that lacks nothing one thing", async () => {
    await using rig = await Rig.create(CHAIN);
    await rig.run();
    const before = rig.cachix.fake.requests.length;
    rig.events.length = 0;
    await rig.run();
    assert.equal(rig.cachix.fake.requests.length - before, 1);
    assert.deepEqual(rig.ends, []);
  });

  it("finds out that it may not write before anything is sent, and warns of nothing then", async () => {
    await using rig = await Rig.create(CHAIN);
    rig.cachix.fake.service.permission = "Read";
    await assert.rejects(rig.run(), { code: "TOKEN_MISSING" });
    assert.deepEqual(rig.calls(), { missing: 1, info: 1 });
    assert.deepEqual([rig.events, rig.warnings], [[], []]);
  });

  it("holds what needs an excluded path, and pushes the rest", async () => {
    await using rig = await Rig.create({ ...CHAIN, other: [] });
    await rig.run({ rules: '[rules]\nexclude = ["lib"]\n', pin: "release" });
    assert.deepEqual(rig.ends.toSorted(), [
      "excluded lib",
      "held top",
      "pinned other",
      "pushed libc",
      "pushed other",
    ]);
  });

  it('sends nothing while something is held, with on-hole = "fail"', async () => {
    await using rig = await Rig.create(CHAIN);
    await rig.run({ rules: '[rules]\nexclude = ["libc"]\non-hole = "fail"\n' });
    assert.deepEqual(rig.ends, ["excluded libc", "held lib", "held top"]);
    assert.equal(rig.calls()["begin"], undefined);
  });

  it("carries out the part that it is ordered to, or nothing", async () => {
    await using rig = await Rig.create(CHAIN);
    await rig.run({ onDecided: ({ plan }) => ({ plan, isCalledOff: true }) });
    assert.equal(rig.calls()["begin"], undefined);
    await rig.run({
      onDecided: ({ plan }) => ({
        plan: { ...plan, paths: plan.paths.filter(({ path }) => nameOf(path) === "libc") },
      }),
    });
    assert.deepEqual(rig.ends, ["pushed libc"]);
  });

  it("returns the outage that kept the cache from the rest", async () => {
    await using rig = await Rig.create(CHAIN);
    for (let count = 0; count < 40; count++) rig.cachix.fake.next("begin").reply(503);
    const outage = await rig.run();
    assert.equal(outage?.code, "CACHE_UNAVAILABLE");
    assert.equal(rig.cachix.fake.service.isVisible(hashPartOf(rig.path("top"))), false);
    assert.ok(rig.ends.length > 0 && rig.ends.every((end) => end.startsWith("failed")));
  });
});
