import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";

import { narInfoName, narInfoOf } from "../src/cache/binary-cache.ts";
import type { Cache } from "../src/cache/contract.ts";
import { type HashPart, hashPartOf, storeDirOf } from "../src/nix/store-path.ts";
import {
  type ConformanceOptions,
  hashOf,
  isMissing,
  sampleFor,
  type Setup,
  signal,
} from "./conformance-rig.ts";
import { testTrouble } from "./conformance-trouble.ts";
import { publishSample, type SampleUpload } from "./sample-upload.ts";

/** What every backend does alike; see the contract in `src/cache/contract.ts`. */
export function cacheConformance({ name, setup, disk, skip }: ConformanceOptions): void {
  describe(`${name} as a cache`, { skip: skip ?? false }, () => {
    testInfo(setup);
    testMissing(setup);
    testPublish(setup);
    testReaders(setup);
    testCompanions(setup);
    testPruner(setup);
    testOrder(setup);
    testAbort(setup);
    testPin(setup);
    testTrouble(setup, disk);
  });
}

function testInfo(setup: Setup): void {
  it("tells where it is read, and not that we may only read", async () => {
    await using rig = await setup();
    const info = await rig.cache.info(signal);
    // Undefined where only a write tells.
    assert.notEqual(info.writable, false);
    assert.equal(URL.canParse(info.readUrl), true);
    assert.equal(info.readUrl.endsWith("/"), false);
    assert.equal(info.storeDir, storeDirOf(sampleFor(rig.cache, { name: "a" }).storePath));
  });

  it("rejects with the reason of a signal that is aborted already", async () => {
    await using rig = await setup();
    const reason = new Error("stop");
    const { storePath, request } = sampleFor(rig.cache, { name: "a" });
    const stopped = AbortSignal.abort(reason);
    await assert.rejects(rig.cache.info(stopped), reason);
    await assert.rejects(rig.cache.missing([hashPartOf(storePath)], stopped), reason);
    await assert.rejects(rig.cache.beginUpload(request, stopped), reason);
  });
}

function testMissing(setup: Setup): void {
  it("lacks everything at first", async () => {
    await using rig = await setup();
    const asked = ["a", "b", "c"].map((name) => hashOf(sampleFor(rig.cache, { name })));
    assert.deepEqual(await rig.cache.missing(asked, signal), new Set(asked));
  });

  it("lacks nothing of nothing", async () => {
    await using rig = await setup();
    assert.deepEqual(await rig.cache.missing([], signal), new Set());
  });

  it("does not lack a path that it was asked for twice and has", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "twice" });
    await publishSample(rig.cache, sample);
    const hash = hashOf(sample);
    assert.deepEqual(await rig.cache.missing([hash, hash, hash], signal), new Set());
  });
}

function testPublish(setup: Setup): void {
  it("has a path once it is published, and not before", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "whole" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    assert.equal(await isMissing(rig.cache, sample), true);
    assert.equal(await rig.isServed(hashOf(sample)), false);
    await upload.publish(sample.packed, signal);
    assert.equal(await isMissing(rig.cache, sample), false);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("takes the parts of an upload at once and in any order", async (t) => {
    await using rig = await setup();
    const { inOrder, minBytes } = rig.cache.traits.parts;
    if (inOrder) return t.skip("this kind takes them in order");
    const sample = sampleFor(rig.cache, { name: "parts", parts: 5, partBytes: minBytes });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    await Promise.all(sample.parts.toReversed().map((part) => upload.putPart(part, signal)));
    await upload.publish(sample.packed, signal);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("takes uploads of several paths at once", async () => {
    await using rig = await setup();
    const samples = Array.from({ length: 12 }, (_, index) =>
      sampleFor(rig.cache, { name: `n${index}` }),
    );
    await Promise.all(samples.map((sample) => publishSample(rig.cache, sample)));
    assert.deepEqual(await rig.cache.missing(samples.map(hashOf), signal), new Set());
  });

  it("takes the same path from two uploads at once", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "race" });
    await Promise.all([publishSample(rig.cache, sample), publishSample(rig.cache, sample)]);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("takes every name that a path may have", async () => {
    await using rig = await setup();
    for (const name of ["a", "0+plus.dot_under-?what=it", "C++", "x".repeat(211)]) {
      const sample = sampleFor(rig.cache, { name });
      await publishSample(rig.cache, sample);
      assert.equal(await rig.isServed(hashOf(sample)), true, name);
      assert.equal(await isMissing(rig.cache, sample), false, name);
    }
  });

  it("takes a path with nothing in it", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "nothing", contents: Buffer.alloc(0) });
    await publishSample(rig.cache, sample);
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("serves a path with its references, and one that refers to itself", async () => {
    await using rig = await setup();
    const lib = sampleFor(rig.cache, { name: "lib" });
    const own = sampleFor(rig.cache, { name: "app" }).storePath;
    const app = sampleFor(rig.cache, { name: "app", references: [own, lib.storePath] });
    await publishSample(rig.cache, lib);
    await publishSample(rig.cache, app);
    assert.equal(await rig.isServed(hashOf(app)), true);
  });
}

function testReaders(setup: Setup): void {
  it("takes every compression that it says it takes", async () => {
    await using rig = await setup();
    for (const compression of rig.cache.traits.compressions) {
      const sample = sampleFor(rig.cache, { name: compression, compression });
      await publishSample(rig.cache, sample);
      assert.equal(await rig.isServed(hashOf(sample)), true, compression);
    }
  });

  it("gives readers the record of the path, and where it does not sign all signatures in order", async (t) => {
    await using rig = await setup();
    if (rig.narInfo === undefined) return t.skip("the rig reads no narinfo of this backend");
    const lib = sampleFor(rig.cache, { name: "lib" });
    const signatures = signedBy(rig.cache, "ours-1", "stranger-1");
    const own = sampleFor(rig.cache, { name: "app" }).storePath;
    const references = [lib.storePath, own];
    const app = sampleFor(rig.cache, { name: "app", references, signatures });
    await publishSample(rig.cache, lib);
    await publishSample(rig.cache, app);
    const found = await rig.narInfo(app.storePath);
    assert.equal(found?.storePath, app.storePath);
    assert.equal(found.narHash, app.request.info.narHash);
    if (rig.recompresses !== true) assert.equal(found.fileHash, app.packed.fileHash);
    assert.deepEqual(new Set(found.references), new Set(references));
    if (rig.cache.traits.signer === "client") assert.deepEqual(found.signatures, signatures);
  });

  it("replaces the narinfo of a path that is published again", async (t) => {
    await using rig = await setup();
    if (rig.narInfo === undefined) return t.skip("the rig reads no narinfo of this backend");
    const sample = sampleFor(rig.cache, { name: "again" });
    const signatures = signedBy(rig.cache, "late-1");
    await publishSample(rig.cache, sample);
    await publishSample(rig.cache, sampleFor(rig.cache, { name: "again", signatures }));
    const found = await rig.narInfo(sample.storePath);
    if (rig.cache.traits.signer === "client") assert.deepEqual(found?.signatures, signatures);
  });

  for (const [damage, harm] of Object.entries(DAMAGES)) {
    it(`lacks a path whose ${damage}, and serves it once it is published again`, async (t) => {
      await using rig = await setup();
      if (rig.dir === undefined) return t.skip("the files of this backend are out of reach");
      const other = sampleFor(rig.cache, { name: "other" });
      const sample = sampleFor(rig.cache, { name: "damaged", references: [other.storePath] });
      for (const each of [other, sample]) await publishSample(rig.cache, each);
      const records = new Map([[hashOf(sample), sample.request.info]]);
      await harm(rig.dir, sample, other);
      const asked = [hashOf(sample)];
      const missing = async (): Promise<Set<HashPart>> =>
        await rig.cache.missing(asked, signal, { closeness: "nar", records });
      assert.deepEqual(await missing(), new Set(asked));
      await publishSample(rig.cache, sample);
      assert.deepEqual(await missing(), new Set());
      const narInfo = await rig.narInfo?.(sample.storePath);
      assert.deepEqual(narInfo, narInfoOf(sample.request, sample.packed));
    });
  }
}

/** What a power cut or a careless hand leaves of a path, in a folder of Nix's layout. */
const DAMAGES: Readonly<
  Record<string, (dir: string, sample: SampleUpload, other: SampleUpload) => Promise<void>>
> = {
  "narinfo is empty": (dir, sample) => truncate(join(dir, narInfoName(hashOf(sample)))),
  "narinfo is something else": (dir, sample) =>
    writeFile(join(dir, narInfoName(hashOf(sample))), "<html>"),
  "NAR is gone": (dir, sample) => unlink(join(dir, narOf(sample))),
  "NAR is cut": (dir, sample) => truncate(join(dir, narOf(sample)), 10),
  "narinfo names another NAR": (dir, sample, other) =>
    edit(dir, sample, (text) => text.replace(/^URL: .*$/m, `URL: ${narOf(other)}`)),
  "narinfo names another method": (dir, sample) =>
    edit(dir, sample, (text) => text.replace(/^Compression: .*$/m, "Compression: bzip2")),
  "narinfo has another size": (dir, sample) =>
    edit(dir, sample, (text) => text.replace(/^FileSize: .*$/m, "$&0")),
  "narinfo has lost references": (dir, sample) =>
    edit(dir, sample, (text) => text.replace(/^References: .*$/m, "References: ")),
  "narinfo has another NAR size": (dir, sample) =>
    edit(dir, sample, (text) => text.replace(/^NarSize: .*$/m, "$&0")),
};

async function edit(
  dir: string,
  sample: SampleUpload,
  change: (text: string) => string,
): Promise<void> {
  const file = join(dir, narInfoName(hashOf(sample)));
  const text = await readFile(file, "utf8");
  const edited = change(text);
  assert.notEqual(edited, text);
  await writeFile(file, edited);
}

function narOf({ request, packed }: SampleUpload): string {
  return narInfoOf(request, packed).url;
}

/** Signatures that nobody verifies; none for a cache that signs itself and takes no others. */
function signedBy({ traits }: Cache, ...names: readonly string[]): string[] {
  if (traits.signer !== "client") return [];
  return names.map((name) => `${name}:${randomBytes(64).toString("base64")}`);
}

function testCompanions(setup: Setup): void {
  it("gives readers the small files that it took, the last of a name", async (t) => {
    await using rig = await setup();
    const { companions } = rig.cache;
    if (companions === undefined) return t.skip("this kind has no small files");
    const realisation = `realisations/sha256:${"0".repeat(64)}`;
    const names = [
      "beside.ls",
      "log/a+b?c=d_e.drv",
      ...["out", "a+b?c=d"].map((output) => `${realisation}!${output}.doi`),
    ];
    assert.deepEqual(await companions.missing(names, signal), new Set(names));
    for (const text of ["first", "second"]) {
      const bytes = new TextEncoder().encode(text);
      for (const name of names)
        await companions.put({ name, contentType: "text/plain", bytes }, signal);
      for (const name of names) {
        const read = await rig.companion?.(name);
        assert.equal(Buffer.from(read ?? []).toString(), text);
      }
    }
    assert.deepEqual(await companions.missing([...names, "other"], signal), new Set(["other"]));
    const reason = new Error("stop");
    const companion = { name: "log/x", contentType: "text/plain", bytes: new Uint8Array(1) };
    await assert.rejects(companions.put(companion, AbortSignal.abort(reason)), reason);
    await assert.rejects(companions.missing(names, AbortSignal.abort(reason)), reason);
  });
}

function testPruner(setup: Setup): void {
  it("lists what it has, removes it as it was listed, and takes it back", async (t) => {
    await using rig = await setup();
    const { pruner, companions } = rig.cache;
    if (pruner === undefined) return t.skip("nothing is removed from this kind");
    const sample = sampleFor(rig.cache, { name: "pruned" });
    await publishSample(rig.cache, sample);
    const put = async (name: string, text: string): Promise<void> =>
      companions?.put(
        { name, contentType: "text/plain", bytes: new TextEncoder().encode(text) },
        signal,
      );
    for (const name of ["log/x.drv", "realisations/x.doi"]) await put(name, "first");
    const { nowMs, files } = await pruner.list(signal);
    assert.ok(Math.abs(nowMs - Date.now()) < 60_000);
    const narInfo = narInfoName(hashOf(sample));
    const nar = narInfoOf(sample.request, sample.packed).url;
    const names = [narInfo, nar, "nix-cache-info", "log/x.drv", "realisations/x.doi"];
    assert.deepEqual(files.map(({ name }) => name).toSorted(), names.toSorted());
    for (const { name, modifiedMs, sizeBytes } of files) {
      assert.ok(Math.abs(modifiedMs - nowMs) < 60_000, name);
      const found = await pruner.read(name, signal);
      assert.equal(found?.length, sizeBytes, name);
    }
    const listed = (name: string) => files.find((file) => file.name === name) ?? assert.fail(name);
    await put("log/x.drv", "another text");
    assert.equal(await pruner.remove(listed("log/x.drv"), signal), false);
    const text = await pruner.read(narInfo, signal);
    for (let times = 0; times < 2; times++) {
      assert.equal(await pruner.remove(listed(narInfo), signal), true);
      assert.equal(await rig.isServed(hashOf(sample)), false);
    }
    await pruner.settle(signal);
    assert.equal(await pruner.read(narInfo, signal), undefined);
    await pruner.putBack(narInfo, new Uint8Array(text ?? []), signal);
    await pruner.putBack(narInfo, new Uint8Array(1), signal);
    assert.deepEqual(await pruner.read(narInfo, signal), text);
    assert.equal(await isMissing(rig.cache, sample), false);
    const reason = new Error("stop");
    const stopped = AbortSignal.abort(reason);
    await assert.rejects(pruner.list(stopped), reason);
    await assert.rejects(pruner.read(narInfo, stopped), reason);
    await assert.rejects(pruner.remove(listed(narInfo), stopped), reason);
    assert.equal(await isMissing(rig.cache, sample), false);
  });
}

function testOrder(setup: Setup): void {
  it("hides a path whose reference is missing, if that is the cache's own rule", async (t) => {
    await using rig = await setup();
    await rig.cache.info(signal);
    const isOurs = rig.cache.traits.closureRule === "client";
    if (isOurs) return t.skip("the client publishes in order here");
    const lib = sampleFor(rig.cache, { name: "lib" });
    const app = sampleFor(rig.cache, { name: "app", references: [lib.storePath] });
    await publishSample(rig.cache, app);
    assert.equal(await isMissing(rig.cache, app), false);
    assert.equal(await rig.isServed(hashOf(app)), false);
    await publishSample(rig.cache, lib);
    assert.equal(await rig.isServed(hashOf(app)), true);
  });

  it("shows no path before its references to anybody who watches, when they are published in order", async () => {
    await using rig = await setup();
    const chain: SampleUpload[] = [];
    for (let n = 0; n < 8; n += 1) {
      const references = chain.slice(-1).map(({ storePath }) => storePath);
      chain.push(sampleFor(rig.cache, { name: `chain-${n}`, references }));
    }
    const over = new AbortController();
    const watched = (async () => {
      // From the end: a path that is served was so before its reference is asked for.
      do {
        await nextTurn();
        let isReferrerServed = false;
        for (const sample of chain.toReversed()) {
          const isServed = await rig.isServed(hashOf(sample));
          assert.ok(isServed || !isReferrerServed, `${sample.storePath} is not served`);
          isReferrerServed = isServed;
        }
      } while (!over.signal.aborted);
    })();
    for (const sample of chain) await publishSample(rig.cache, sample);
    over.abort();
    await watched;
    assert.deepEqual(await rig.cache.missing(chain.map(hashOf), signal), new Set());
  });
}

function testAbort(setup: Setup): void {
  it("lacks a path whose upload was given up, and takes it later", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "given-up" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    await upload.abort();
    await upload.abort();
    assert.equal(await isMissing(rig.cache, sample), true);
    await publishSample(rig.cache, sample);
    assert.equal(await isMissing(rig.cache, sample), false);
  });

  it("keeps what is published when the upload is given up afterwards", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "late" });
    const upload = await publishSample(rig.cache, sample);
    await upload.abort();
    assert.equal(await rig.isServed(hashOf(sample)), true);
  });

  it("rejects a part with the reason of an aborted signal", async () => {
    await using rig = await setup();
    const sample = sampleFor(rig.cache, { name: "stopped" });
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
    const { storePath } = sampleFor(rig.cache, { name: "pinned" });
    await publishSample(rig.cache, sampleFor(rig.cache, { name: "pinned" }));
    await rig.cache.pins.set({ name: "release", storePath }, signal);
    await rig.cache.pins.set({ name: "release", storePath, keep: { revisions: 2 } }, signal);
  });
}
