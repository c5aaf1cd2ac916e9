import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFakeClock } from "../../test/fakes/clock.ts";
import { publishSample, sampleUpload, type SampleUpload } from "../../test/sample-upload.ts";
import { tempDir } from "../../test/temp.ts";
import { narInfoName } from "../cache/binary-cache.ts";
import type { Cache } from "../cache/contract.ts";
import type { CachePruner } from "../cache/pruner.ts";
import { createFileCache } from "../cache/file/file-cache.ts";
import { parseNarInfo } from "../nix/narinfo.ts";
import { hashPartOf, nameOf } from "../nix/store-path.ts";
import { carryOut, type Pruned } from "./carry-out.ts";
import { decide, type Needs } from "./decide.ts";
import { survey } from "./survey.ts";

const DAY_MS = 24 * 60 * 60_000;
const { signal: never } = new AbortController();

/** A real folder with paths, each of which may refer to those before it. */
class PruneRig implements AsyncDisposable {
  readonly dir: string;
  readonly cache: Cache;
  readonly samples: SampleUpload[] = [];
  readonly #temp: AsyncDisposable;

  private constructor(temp: AsyncDisposable, dir: string) {
    this.#temp = temp;
    this.dir = dir;
    // The files are of now, and now is long ago: their times cannot be set back.
    const clock = createFakeClock(Date.now() + 100 * DAY_MS);
    this.cache = createFileCache({ name: "usb", dir, clock });
  }

  static async create(graph: readonly (readonly number[])[]): Promise<PruneRig> {
    // Of a disk each file would be waited for.
    const temp = await tempDir("hp-", existsSync("/dev/shm") ? "/dev/shm" : undefined);
    const rig = new PruneRig(temp, join(temp.dir, "cache"));
    for (const [number, references] of graph.entries()) await rig.publish(`n${number}`, references);
    return rig;
  }

  get pruner(): CachePruner {
    assert.ok(this.cache.pruner !== undefined);
    return this.cache.pruner;
  }

  async publish(name: string, references: readonly number[]): Promise<SampleUpload> {
    const paths = references.flatMap((number) => this.samples[number]?.storePath ?? []);
    const sample = sampleUpload({ name, references: [...new Set(paths)].toSorted() });
    await publishSample(this.cache, sample);
    this.samples.push(sample);
    return sample;
  }

  /** Prunes all but some paths, with a pruner that a test may have changed. */
  async prune(
    wanted: readonly number[],
    {
      pruner = this.pruner,
      signal = never,
      betweenLooksMs = 10_000,
    }: { pruner?: CachePruner; signal?: AbortSignal; betweenLooksMs?: number } = {},
  ): Promise<Pruned> {
    const options = { cache: "usb", storeDir: "/nix/store", signal };
    const needs: Needs = {
      paths: new Set(
        wanted.flatMap((number) => {
          const sample = this.samples[number];
          return sample === undefined ? [] : [hashPartOf(sample.storePath)];
        }),
      ),
      builds: new Set(),
    };
    const shown = await survey({ ...options, pruner: this.pruner });
    const cutoffs = { ownMs: shown.nowMs - 30 * DAY_MS, strayMs: shown.nowMs - 30 * DAY_MS };
    const decision = decide(shown.entries, { needs, cutoffMs: cutoffs.ownMs });
    return await carryOut(decision, shown, {
      ...options,
      pruner,
      needs,
      cutoffs,
      betweenLooksMs,
    });
  }

  /** Names of the paths that readers see. */
  async names(): Promise<string[]> {
    return (await this.#narInfos()).map(({ storePath }) => nameOf(storePath)).toSorted();
  }

  async nars(): Promise<string[]> {
    return (await readdir(join(this.dir, "nar"))).filter((name) => name.endsWith(".zst"));
  }

  /** Checks that what readers see has its NAR and its references. */
  async assertWhole(): Promise<void> {
    const narInfos = await this.#narInfos();
    const seen = new Set(narInfos.map(({ storePath }) => storePath));
    const nars = new Set((await this.nars()).map((name) => `nar/${name}`));
    for (const { storePath, url, references } of narInfos) {
      assert.ok(nars.has(url), `the NAR of ${storePath}`);
      for (const reference of references) {
        assert.ok(seen.has(reference), `${storePath} lacks ${reference}`);
      }
    }
  }

  async #narInfos(): Promise<ReturnType<typeof parseNarInfo>[]> {
    const names = (await readdir(this.dir)).filter((name) => name.endsWith(".narinfo"));
    return await Promise.all(
      names.map(async (name) => parseNarInfo(await readFile(join(this.dir, name), "utf8"))),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cache[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }
}

/** The same pruner, which lets something happen before its calls, one at a time. */
function interrupted(
  pruner: CachePruner,
  before: (call: keyof CachePruner, name: string) => Promise<void>,
): CachePruner {
  return {
    atOnce: 1,
    list: async (signal) => (await before("list", ""), await pruner.list(signal)),
    read: async (name, signal) => (await before("read", name), await pruner.read(name, signal)),
    remove: async (file, signal) => (
      await before("remove", file.name),
      await pruner.remove(file, signal)
    ),
    putBack: async (name, bytes, signal) => (
      await before("putBack", name),
      await pruner.putBack(name, bytes, signal)
    ),
    settle: async (signal) => (await before("settle", ""), await pruner.settle(signal)),
  };
}

const isNarInfo = (name: string): boolean => name.endsWith(".narinfo");
const isNar = (name: string): boolean => name.startsWith("nar/");

/** Each path refers to some of those before it. */
const graphs = fc
  .array(fc.array(fc.nat({ max: 11 }), { maxLength: 3 }), { minLength: 2, maxLength: 12 })
  .map((rows) => rows.map((row, number) => row.filter((reference) => reference < number)));
const wants = fc.array(fc.nat({ max: 11 }), { maxLength: 2 });

describe("carryOut()", { timeout: 120_000 }, () => {
  it("removes paths with their NARs, and keeps what is wanted with all that it needs", async () => {
    await using rig = await PruneRig.create([[], [0], [1], [], [3, 0]]);
    const pruned = await rig.prune([1]);
    assert.deepEqual(await rig.names(), ["n0", "n1"]);
    assert.equal((await rig.nars()).length, 2);
    assert.equal(pruned.entries.length, 3);
    assert.deepEqual([pruned.spared, pruned.broken], [[], []]);
    await rig.assertWhole();
  });

  it("leaves no hole, wherever it is ended", async () => {
    await fc.assert(
      fc.asyncProperty(graphs, wants, fc.nat({ max: 60 }), async (graph, wanted, moment) => {
        await using rig = await PruneRig.create(graph);
        const stop = new AbortController();
        const { signal } = stop;
        let calls = 0;
        const pruner = interrupted(rig.pruner, async () => {
          if (calls++ === moment) stop.abort(new Error("stop"));
        });
        await rig.prune(wanted, { pruner, signal }).catch((error: unknown) => {
          assert.equal((error as Error).message, "stop");
        });
        await rig.assertWhole();
        await rig.prune(wanted);
        await rig.assertWhole();
        assert.equal((await rig.nars()).length, (await rig.names()).length);
      }),
      { numRuns: 40 },
    );
  });

  it("puts back what a path needs that another writer publishes meanwhile", async () => {
    const moments = fc.nat({ max: 60 });
    await fc.assert(
      fc.asyncProperty(graphs, moments, wants, async (graph, moment, references) => {
        const betweenLooksMs = moment % 2 === 0 ? 0 : 10_000;
        await using rig = await PruneRig.create(graph);
        let calls = 0;
        const pruner = interrupted(rig.pruner, async () => {
          // It asked what is there before anything went, so it sends nothing of what it refers to.
          if (calls++ === moment) await rig.publish("new", references);
        });
        const { broken } = await rig.prune([], { pruner, betweenLooksMs });
        if (broken.length === 0) await rig.assertWhole();
        else assert.ok(calls > moment && references.length > 0);
        if (calls > moment) assert.ok((await rig.names()).includes("new"));
      }),
      { numRuns: 40 },
    );
  });

  it("keeps what is published again meanwhile, whenever that is", async () => {
    const moments = fc.nat({ max: 40 });
    await fc.assert(
      fc.asyncProperty(graphs, moments, async (graph, moment) => {
        await using rig = await PruneRig.create(graph);
        let calls = 0;
        const pruner = interrupted(rig.pruner, async () => {
          if (calls++ === moment) await rig.publish("n0", []);
        });
        await rig.prune([], { pruner });
        await rig.assertWhole();
        if (calls > moment) assert.ok((await rig.names()).includes("n0"));
      }),
      { numRuns: 40 },
    );
  });

  it("keeps a NAR whose narinfo is written again without it, as Nix does", async () => {
    await using rig = await PruneRig.create([[], []]);
    const name = narInfoName(hashPartOf(rig.samples[0]?.storePath ?? assert.fail()));
    const text = await readFile(join(rig.dir, name));
    let isDone = false;
    const pruner = interrupted(rig.pruner, async (call, file) => {
      if (isDone || call !== "remove" || !isNar(file)) return;
      isDone = true;
      await writeFile(join(rig.dir, name), text);
    });
    const { broken } = await rig.prune([], { pruner });
    // Whichever NAR was first: one that is gone by then is told.
    if (broken.length === 0) await rig.assertWhole();
    assert.deepEqual(await rig.names(), ["n0"]);
  });

  it("tells of a path that was published at the moment when its NAR went", async () => {
    await using rig = await PruneRig.create([[]]);
    const name = narInfoName(hashPartOf(rig.samples[0]?.storePath ?? assert.fail()));
    const text = await readFile(join(rig.dir, name));
    let isNext = false;
    const pruner = interrupted(rig.pruner, async (call, file) => {
      if (call === "list" && isNext) await writeFile(join(rig.dir, name), text);
      isNext = call === "remove" && isNar(file);
    });
    const { broken } = await rig.prune([], { pruner });
    assert.deepEqual(
      broken.map(({ file }) => file.name),
      [name],
    );
  });

  it("removes no more than was shown, and nothing that is wanted by now", async () => {
    await using rig = await PruneRig.create([[], [0], []]);
    const options = { cache: "usb", storeDir: "/nix/store", signal: never, pruner: rig.pruner };
    const shown = await survey(options);
    const cutoffs = { ownMs: shown.nowMs, strayMs: shown.nowMs };
    const none: Needs = { paths: new Set(), builds: new Set() };
    const wanted = rig.samples.slice(1, 2).map(({ storePath }) => hashPartOf(storePath));
    const first = decide(shown.entries, {
      needs: { ...none, paths: new Set(wanted) },
      cutoffMs: cutoffs.ownMs,
    });
    const other = rig.samples.slice(2, 3).map(({ storePath }) => hashPartOf(storePath));
    const needs = { ...none, paths: new Set(other) };
    // The narinfo of what was wanted is missing for a moment, as a careless writer leaves it.
    await rm(join(rig.dir, narInfoName(wanted[0] ?? assert.fail())));
    const { spared } = await carryOut(first, shown, { ...options, needs, cutoffs });
    assert.deepEqual(await rig.names(), ["n0", "n2"]);
    assert.deepEqual([spared.length, (await rig.nars()).length], [1, 3]);
  });

  it("stops before anything goes if a narinfo cannot be read", async () => {
    await using rig = await PruneRig.create([[], []]);
    const name = narInfoName(hashPartOf(rig.samples[0]?.storePath ?? assert.fail()));
    await rename(join(rig.dir, name), join(rig.dir, "elsewhere"));
    await symlink("elsewhere", join(rig.dir, name));
    await assert.rejects(rig.prune([]), { code: "CACHE_PROTOCOL", message: /is a link, so what/ });
    await rm(join(rig.dir, name));
    await writeFile(join(rig.dir, name), Buffer.alloc((1 << 20) + 1));
    await assert.rejects(rig.prune([]), { code: "CACHE_PROTOCOL", message: /has 1048577 bytes/ });
    assert.equal((await rig.nars()).length, 2);
  });

  it("keeps a narinfo that is none, with the NAR and the references that it names", async () => {
    await using rig = await PruneRig.create([[], [0], []]);
    const name = narInfoName(hashPartOf(rig.samples[1]?.storePath ?? assert.fail()));
    const text = await readFile(join(rig.dir, name), "utf8");
    await writeFile(join(rig.dir, name), text.replace("Compression: zstd", "Compression: cube"));
    await rig.prune([]);
    const kept = (await readdir(rig.dir)).filter(isNarInfo);
    assert.deepEqual([kept.length, (await rig.nars()).length], [2, 2]);
  });

  it("takes a file that came lately for young, whatever time it brought along", async () => {
    await using rig = await PruneRig.create([[]]);
    const name = narInfoName(hashPartOf(rig.samples[0]?.storePath ?? assert.fail()));
    await utimes(join(rig.dir, name), 0, 0);
    const { files } = await rig.pruner.list(never);
    const found = files.find((file) => file.name === name);
    assert.ok((found?.modifiedMs ?? 0) > Date.now() - DAY_MS);
  });

  it("refuses a folder that is no cache", async () => {
    await using rig = await PruneRig.create([[]]);
    await rm(join(rig.dir, "nix-cache-info"));
    await assert.rejects(rig.prune([]), { code: "CACHE_NOT_FOUND" });
    await writeFile(join(rig.dir, "nix-cache-info"), "StoreDir: /gnu/store\n");
    await assert.rejects(rig.prune([]), { code: "STORE_UNSUPPORTED" });
    await writeFile(join(rig.dir, "nix-cache-info"), "<html>");
    await assert.rejects(rig.prune([]), { code: "CACHE_PROTOCOL" });
    assert.deepEqual(await rig.names(), ["n0"]);
  });
});
