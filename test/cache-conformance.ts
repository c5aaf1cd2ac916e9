import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Cache } from "../src/cache/contract.ts";
import { hashPartOf } from "../src/nix/store-path.ts";
import type { HashPart } from "../src/nix/store-path.ts";
import { sampleUpload } from "./sample-upload.ts";
import type { SampleUpload } from "./sample-upload.ts";

/** A cache of the backend under test, empty, with credentials that may write. */
export interface ConformanceRig extends AsyncDisposable {
  readonly cache: Cache;
  /** Whether readers of the cache get the narinfo of this path now. */
  isServed(hashPart: HashPart): Promise<boolean>;
}

export interface ConformanceOptions {
  /** The backend, for the titles. */
  readonly name: string;
  readonly setup: () => Promise<ConformanceRig>;
}

/** What every backend does alike; see the contract in `src/cache/contract.ts`. */
export function cacheConformance({ name, setup }: ConformanceOptions): void {
  describe(`${name} as a cache`, () => {
    testInfo(setup);
    testMissing(setup);
    testPublish(setup);
    testAbort(setup);
    testPin(setup);
  });
}

type Setup = ConformanceOptions["setup"];

const { signal } = new AbortController();

function testInfo(setup: Setup): void {
  it("tells where it is read and that we may write", async () => {
    await using rig = await setup();
    const info = await rig.cache.info(signal);
    assert.equal(info.writable, true);
    assert.equal(URL.canParse(info.readUrl), true);
    assert.equal(info.readUrl.endsWith("/"), false);
  });

  it("rejects with the reason of a signal that is aborted already", async () => {
    await using rig = await setup();
    const reason = new Error("stop");
    const { storePath, request } = sampleUpload({ name: "a" });
    const stopped = AbortSignal.abort(reason);
    await assert.rejects(rig.cache.info(stopped), reason);
    await assert.rejects(rig.cache.missing([hashPartOf(storePath)], stopped), reason);
    await assert.rejects(rig.cache.beginUpload(request, stopped), reason);
  });
}

function testMissing(setup: Setup): void {
  it("lacks everything at first", async () => {
    await using rig = await setup();
    const asked = ["a", "b", "c"].map((name) => hashOf(sampleUpload({ name })));
    assert.deepEqual(await rig.cache.missing(asked, signal), new Set(asked));
  });

  it("lacks nothing of nothing", async () => {
    await using rig = await setup();
    assert.deepEqual(await rig.cache.missing([], signal), new Set());
  });

  it("does not lack a path that it was asked for twice and has", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "twice" });
    await publish(rig.cache, sample);
    const hash = hashOf(sample);
    assert.deepEqual(await rig.cache.missing([hash, hash, hash], signal), new Set());
  });
}

function testPublish(setup: Setup): void {
  it("has a path once it is published, and not before", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "whole" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    assert.equal(await isMissing(rig.cache, sample), true);
    assert.equal(await rig.isServed(hashOf(sample)), false);
    await upload.publish(sample.packed, signal);
    assert.equal(await isMissing(rig.cache, sample), false);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("takes the parts of an upload at once and in any order", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "parts", parts: 5 });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    await Promise.all(sample.parts.toReversed().map((part) => upload.putPart(part, signal)));
    await upload.publish(sample.packed, signal);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("takes uploads of several paths at once", async () => {
    await using rig = await setup();
    const samples = Array.from({ length: 12 }, (_, index) => sampleUpload({ name: `n${index}` }));
    await Promise.all(samples.map((sample) => publish(rig.cache, sample)));
    assert.deepEqual(await rig.cache.missing(samples.map(hashOf), signal), new Set());
  });

  it("takes the same path from two uploads at once", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "race" });
    await Promise.all([publish(rig.cache, sample), publish(rig.cache, sample)]);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("serves a path with its references, and one that refers to itself", async () => {
    await using rig = await setup();
    const lib = sampleUpload({ name: "lib" });
    const own = sampleUpload({ name: "app" }).storePath;
    const app = sampleUpload({ name: "app", references: [own, lib.storePath] });
    await publish(rig.cache, lib);
    await publish(rig.cache, app);
    assert.equal(await rig.isServed(hashOf(app)), true);
  });

  it("hides a path whose reference is missing, if that is the cache's own rule", async (t) => {
    await using rig = await setup();
    await rig.cache.info(signal);
    if (rig.cache.traits.closureRule === "client")
      return t.skip("the client publishes in order here");
    const lib = sampleUpload({ name: "lib" });
    const app = sampleUpload({ name: "app", references: [lib.storePath] });
    await publish(rig.cache, app);
    assert.equal(await isMissing(rig.cache, app), false);
    assert.equal(await rig.isServed(hashOf(app)), false);
    await publish(rig.cache, lib);
    assert.equal(await rig.isServed(hashOf(app)), true);
  });
}

function testAbort(setup: Setup): void {
  it("lacks a path whose upload was given up, and takes it later", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "given-up" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    await upload.abort();
    await upload.abort();
    assert.equal(await isMissing(rig.cache, sample), true);
    await publish(rig.cache, sample);
    assert.equal(await isMissing(rig.cache, sample), false);
  });

  it("keeps what is published when the upload is given up afterwards", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "late" });
    const upload = await publish(rig.cache, sample);
    await upload.abort();
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("rejects a part with the reason of an aborted signal", async () => {
    await using rig = await setup();
    const sample = sampleUpload({ name: "stopped" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    const reason = new Error("stop");
    const [part] = sample.parts;
    assert.ok(part);
    await assert.rejects(upload.putPart(part, AbortSignal.abort(reason)), reason);
    await upload.abort();
  });
}

function testPin(setup: Setup): void {
  it("pins a path that is published, again and again", async (t) => {
    await using rig = await setup();
    if (rig.cache.pins === undefined) return t.skip("this backend has no pins");
    const { storePath } = sampleUpload({ name: "pinned" });
    await publish(rig.cache, sampleUpload({ name: "pinned" }));
    await rig.cache.pins.set({ name: "release", storePath }, signal);
    await rig.cache.pins.set({ name: "release", storePath, keep: { revisions: 2 } }, signal);
  });
}

async function publish(
  cache: Cache,
  sample: SampleUpload,
): Promise<Awaited<ReturnType<Cache["beginUpload"]>>> {
  const upload = await cache.beginUpload(sample.request, signal);
  for (const part of sample.parts) await upload.putPart(part, signal);
  await upload.publish(sample.packed, signal);
  return upload;
}

function hashOf({ storePath }: SampleUpload): HashPart {
  return hashPartOf(storePath);
}

async function isMissing(cache: Cache, sample: SampleUpload): Promise<boolean> {
  return (await cache.missing([hashOf(sample)], signal)).has(hashOf(sample));
}
