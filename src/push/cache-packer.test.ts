import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { rename, writeFile } from "node:fs/promises";
import { describe, it } from "node:test";

import { smallDisk } from "../../test/small-disk.ts";
import { tempDir } from "../../test/temp.ts";
import type { PartTraits } from "../cache/contract.ts";
import { sha256FromHex } from "../nix/hash.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { CachePacker, type CachePackerOptions } from "./cache-packer.ts";
import { PackPool, type PackRequest } from "./pack-pool.ts";
import type { PackResult } from "./pack-protocol.ts";
import type { PackedPart } from "./part-sends.ts";
import { SharedPacker, type SharedPackerOptions } from "./shared-packer.ts";

const MIB = 1 << 20;
const never = new AbortController().signal;
const PARTS: PartTraits = {
  inOrder: false,
  minBytes: MIB,
  maxParts: 10_000,
  md5: false,
  lifetimeMs: undefined,
};

/** Lets everything run that is ready, threads and disk included. */
const settle = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 50));

type Plain = Omit<PackRequest, "onPart">;

/** Random bytes do not shrink, so sizes of parts are known. */
async function makeFile(path: string, sizeBytes: number): Promise<Plain> {
  await writeFile(path, randomBytes(sizeBytes));
  const plain = { physicalPath: path, narSize: sizeBytes + 112, level: 1, partSize: MIB };
  return { ...plain, compression: "zstd" };
}

/** The caches of a run, of which each takes parts as a test lets it. */
class Rig implements AsyncDisposable {
  readonly shared: SharedPacker;
  readonly sinks: Sink[];

  constructor(
    caches: number,
    options: SharedPackerOptions,
    wishes: readonly CachePackerOptions[] = [],
  ) {
    this.shared = new SharedPacker({ threads: 2, ...options });
    this.sinks = Array.from({ length: caches }, (_, at) => new Sink(this.shared, wishes[at] ?? {}));
  }

  /** All that await a path from now on. */
  expect(...plains: readonly Plain[]): void {
    for (const sink of this.sinks) sink.expect(plains);
  }

  sink(at: number): Sink {
    return this.sinks[at] ?? assert.fail(`there is no cache ${at}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sink of this.sinks) await sink.packer[Symbol.asyncDispose]();
    await this.shared[Symbol.asyncDispose]();
  }
}

class Sink {
  readonly packer: CachePacker;
  readonly numbers: number[] = [];
  /** Bytes of parts that it has in memory, now and at most. */
  held = 0;
  most = 0;
  /** Settles when it takes parts; replaced by a test. */
  gate: Promise<void> = Promise.resolve();
  readonly #parts = new Map<string, Buffer[]>();

  constructor(shared: SharedPacker, wishes: CachePackerOptions = {}) {
    this.packer = new CachePacker(shared, wishes);
  }

  expect(plains: readonly Plain[], parts = PARTS): void {
    const physicalPaths = plains.map(({ physicalPath }) => physicalPath);
    this.packer.expect({ physicalPaths, compression: "zstd", level: 1, parts });
  }

  pack(plain: Plain, signal = never): Promise<PackResult> {
    const parts: Buffer[] = [];
    this.#parts.set(plain.physicalPath, parts);
    const onPart = async ({ number, bytes, md5 }: PackedPart): Promise<void> => {
      this.numbers.push(number);
      this.held += bytes.length;
      this.most = Math.max(this.most, this.held);
      await this.gate;
      if (md5 !== "") assert.equal(md5, createHash("md5").update(bytes).digest("base64"));
      parts[number - 1] = Buffer.from(bytes);
      this.held -= bytes.length;
    };
    return this.packer.pack({ ...plain, onPart }, signal);
  }

  hash(plain: Plain): string {
    const file = Buffer.concat(this.#parts.get(plain.physicalPath) ?? []);
    return createHash("sha256").update(file).digest("hex");
  }

  sizes(plain: Plain): number[] {
    return (this.#parts.get(plain.physicalPath) ?? []).map((part) => part.length);
  }
}

function assertWhole(sink: Sink, plain: Plain, { fileHash, narSize }: PackResult): void {
  assert.equal(sink.hash(plain), fileHash);
  assert.equal(narSize, plain.narSize);
}

describe("CachePacker", () => {
  it("lists a path for the cache that wants it, whichever has it packed", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir }, [{}, { listings: true }]);
    for (const [name, sizeBytes] of [
      ["tiny", 1000],
      ["small", MIB],
      ["large", 5 * MIB],
    ] as const) {
      const plain = await makeFile(`${temp.dir}/${name}`, sizeBytes);
      rig.expect(plain);
      await rig.sink(0).pack(plain);
      const { listing } = await rig.sink(1).pack(plain);
      const text = `{"version":1,"root":{"type":"regular","size":${sizeBytes},"narOffset":96}}`;
      assert.deepEqual(listing, { text });
    }
  });

  it("lists a path for a cache that had to pack it again", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir, spoolBytes: 2 * MIB }, [
      {},
      { listings: true },
    ]);
    const plain = await makeFile(`${temp.dir}/f`, 5 * MIB);
    rig.expect(plain);
    await rig.sink(0).pack(plain);
    const { listing } = await rig.sink(1).pack(plain);
    assert.ok(listing !== undefined && "text" in listing);
  });

  it("reads a path once for all caches that await it, in parts that all of them take", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(3, { spoolDir: temp.dir });
    const plain = await makeFile(`${temp.dir}/f`, 9 * MIB);
    rig.sink(0).expect([plain]);
    rig.sink(1).expect([plain], { ...PARTS, minBytes: 2 * MIB, md5: true });
    rig.sink(2).expect([plain], { ...PARTS, maxParts: 4 });
    const first = await rig.sink(0).pack(plain);
    await rename(`${temp.dir}/f`, `${temp.dir}/gone`);
    const others = await Promise.all([rig.sink(1).pack(plain), rig.sink(2).pack(plain)]);
    for (const [at, result] of [first, ...others].entries()) {
      assert.deepEqual(result, first);
      assertWhole(rig.sink(at), plain, result);
      // Three parts of at most four, for the file may be larger than the NAR.
      assert.equal(rig.sink(at).sizes(plain)[0], Math.ceil(plain.narSize / 3));
    }
  });

  it("lets a slow cache neither delay another nor hold much", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir });
    const plains = [
      await makeFile(`${temp.dir}/a`, 40 * MIB),
      await makeFile(`${temp.dir}/b`, 40 * MIB),
      await makeFile(`${temp.dir}/c`, 2 * MIB),
    ];
    rig.expect(...plains);
    const open = Promise.withResolvers<void>();
    rig.sink(0).gate = open.promise;
    const slow = Promise.all(plains.map((plain) => rig.sink(0).pack(plain)));
    for (const plain of plains) assertWhole(rig.sink(1), plain, await rig.sink(1).pack(plain));
    for (const { most } of rig.sinks) assert.ok(most > 0 && most <= 16 * MIB);
    await rig.sink(1).packer[Symbol.asyncDispose]();
    for (const plain of plains) await rename(plain.physicalPath, `${plain.physicalPath}-gone`);
    open.resolve();
    for (const [at, result] of (await slow).entries()) {
      assertWhole(rig.sink(0), plains[at] ?? assert.fail(), result);
    }
    assert.ok(rig.sink(0).most <= 32 * MIB);
  });

  it("is not held up by a path that a slow cache alone awaits", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir });
    const theirs = await makeFile(`${temp.dir}/a`, 40 * MIB);
    const plain = await makeFile(`${temp.dir}/b`, 40 * MIB);
    rig.sink(0).expect([theirs]);
    rig.sink(1).expect([plain]);
    const open = Promise.withResolvers<void>();
    rig.sink(0).gate = open.promise;
    const slow = rig.sink(0).pack(theirs);
    assertWhole(rig.sink(1), plain, await rig.sink(1).pack(plain));
    open.resolve();
    assertWhole(rig.sink(0), theirs, await slow);
  });

  it("keeps a path for a cache that has not said yet what it awaits, and lets go of it then", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(3, { spoolDir: temp.dir });
    const plain = await makeFile(`${temp.dir}/f`, 3 * MIB);
    rig.sink(0).expect([plain]);
    await rig.sink(0).pack(plain);
    await rename(`${temp.dir}/f`, `${temp.dir}/gone`);
    rig.sink(1).expect([plain]);
    assertWhole(rig.sink(1), plain, await rig.sink(1).pack(plain));
    rig.sink(2).expect([]);
    await assert.rejects(rig.sink(2).pack(plain), { code: "STORE_PATH_GONE" });
  });

  for (const [how, spoolBytes] of [
    ["more than the spool may hold", 8 * MIB],
    ["nothing at all for want of a disk", 0],
  ] as const) {
    it(`packs again for a cache that falls back by ${how}, in the same upload`, async () => {
      await using temp = await tempDir();
      await using rig = new Rig(2, { spoolDir: temp.dir, spoolBytes });
      const plain = await makeFile(`${temp.dir}/f`, 60 * MIB);
      rig.expect(plain);
      const open = Promise.withResolvers<void>();
      rig.sink(0).gate = open.promise;
      const slow = rig.sink(0).pack(plain);
      assertWhole(rig.sink(1), plain, await rig.sink(1).pack(plain));
      assert.ok(rig.sink(0).most <= 16 * MIB);
      open.resolve();
      assertWhole(rig.sink(0), plain, await slow);
      const { numbers } = rig.sink(0);
      assert.deepEqual(numbers, [...new Set(numbers)], "no part is sent twice");
    });
  }

  it("goes on, and has caches pack by themselves, on a full disk", async (t) => {
    await using disk = await smallDisk(4 * MIB);
    if (disk === undefined) return t.skip("this user may not mount");
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: disk.dir });
    const plain = await makeFile(`${temp.dir}/f`, 40 * MIB);
    rig.expect(plain);
    const open = Promise.withResolvers<void>();
    rig.sink(0).gate = open.promise;
    const slow = rig.sink(0).pack(plain);
    assertWhole(rig.sink(1), plain, await rig.sink(1).pack(plain));
    open.resolve();
    assertWhole(rig.sink(0), plain, await slow);
    assert.ok(rig.shared.spool.limitBytes <= 4 * MIB);
  });

  it("takes from the cache that is furthest behind what it would read last", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir, spoolBytes: 12 * MIB });
    const plains = [];
    for (const name of ["a", "b", "c"]) plains.push(await makeFile(`${temp.dir}/${name}`, 5 * MIB));
    rig.expect(...plains);
    for (const plain of plains) await rig.sink(0).pack(plain);
    for (const plain of plains) await rename(plain.physicalPath, `${plain.physicalPath}-gone`);
    const ends = await Promise.allSettled(plains.map((plain) => rig.sink(1).pack(plain)));
    // Of the second it depends on how fast the first cache takes the third.
    assert.deepEqual([ends[0]?.status, ends[2]?.status], ["fulfilled", "rejected"]);
  });

  it("goes on for the others when one fails or is aborted, and stops when none is left", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(3, { spoolDir: temp.dir });
    const plain = await makeFile(`${temp.dir}/f`, 40 * MIB);
    rig.expect(plain);
    const stop = new AbortController();
    rig.sink(0).gate = Promise.reject(new Error("no room"));
    rig.sink(0).gate.catch(() => undefined);
    rig.sink(1).gate = new Promise(() => undefined);
    const failing = rig.sink(0).pack(plain);
    const stopped = rig
      .sink(1)
      .packer.pack(
        { ...plain, onPart: async (_part, signal) => void (await onceAborted(signal)) },
        stop.signal,
      );
    const whole = rig.sink(2).pack(plain);
    await assert.rejects(failing, /no room/);
    stop.abort(new Error("Interrupted"));
    await assert.rejects(stopped, /Interrupted/);
    assertWhole(rig.sink(2), plain, await whole);
  });

  it("stops packing when every cache has given the path up", { timeout: 20_000 }, async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir });
    const endless = await makeFile(`${temp.dir}/f`, 1_000);
    execFileSync("truncate", ["-s", "1T", `${temp.dir}/f`]);
    const plain = { ...endless, narSize: 2 ** 40 };
    const next = await makeFile(`${temp.dir}/g`, 5 * MIB);
    rig.expect(plain, next);
    const stop = new AbortController();
    const both = rig.sinks.map((sink) => sink.pack(plain, stop.signal));
    await settle();
    stop.abort(new Error("Interrupted"));
    for (const one of both) await assert.rejects(one, /Interrupted/);
    // The only thread for large paths is free again.
    assertWhole(rig.sink(0), next, await rig.sink(0).pack(next));
  });

  it("lets go of a path that a cache will not ask for", { timeout: 20_000 }, async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir, spoolBytes: 8 * MIB });
    const plain = await makeFile(`${temp.dir}/f`, 6 * MIB);
    const next = await makeFile(`${temp.dir}/g`, 6 * MIB);
    rig.expect(plain, next);
    await rig.sink(0).pack(plain);
    rig.sink(1).packer.forget(plain);
    await rig.sink(0).pack(next);
    await rename(`${temp.dir}/g`, `${temp.dir}/gone`);
    assertWhole(rig.sink(1), next, await rig.sink(1).pack(next));
  });

  it("fails for every cache, before the last part, where files are not as recorded", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir });
    const plain = await makeFile(`${temp.dir}/f`, 4 * MIB);
    const path = parseStorePath(`/nix/store/${"a".repeat(32)}-f`);
    const narHash = sha256FromHex("0".repeat(64));
    const bad = { ...plain, recorded: { path, narHash, narSize: plain.narSize } };
    rig.expect(bad);
    await assert.rejects(rig.sink(0).pack(bad), { code: "STORE_PATH_CORRUPT" });
    await rename(`${temp.dir}/f`, `${temp.dir}/gone`);
    await assert.rejects(rig.sink(1).pack(bad), { code: "STORE_PATH_CORRUPT" });
    for (const { numbers } of rig.sinks) assert.ok(!numbers.includes(5));
  });

  it("packs straight from the pool where it is alone, and makes no spool", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(1, { spoolDir: `${temp.dir}/none` });
    const plain = await makeFile(`${temp.dir}/f`, 20 * MIB);
    rig.expect(plain);
    assertWhole(rig.sink(0), plain, await rig.sink(0).pack(plain));
    assert.ok(rig.shared.spool.limitBytes > 0, "nothing was written");
  });

  it("does not wait for a cache that was alone when it began and hangs", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(1, { spoolDir: temp.dir });
    const large = await makeFile(`${temp.dir}/f`, 60 * MIB);
    const plain = await makeFile(`${temp.dir}/g`, 20 * MIB);
    rig.expect(large);
    const open = Promise.withResolvers<void>();
    rig.sink(0).gate = open.promise;
    const hanging = rig.sink(0).pack(large);
    const late = new Sink(rig.shared);
    rig.sinks.push(late);
    late.expect([large, plain]);
    assertWhole(late, plain, await late.pack(plain));
    open.resolve();
    assertWhole(rig.sink(0), large, await hanging);
  });

  it("packs a tiny path for each cache", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: `${temp.dir}/none` });
    const plain = await makeFile(`${temp.dir}/f`, 1_000);
    rig.expect(plain);
    for (const sink of rig.sinks) assertWhole(sink, plain, await sink.pack(plain));
    assert.ok(rig.shared.spool.limitBytes > 0, "nothing was written");
  });

  it("makes the same file as a pool does", async () => {
    await using temp = await tempDir();
    await using rig = new Rig(2, { spoolDir: temp.dir });
    await using pool = new PackPool({ threads: 2 });
    const plain = await makeFile(`${temp.dir}/f`, 30 * MIB);
    rig.expect(plain);
    const expected = await pool.pack({ ...plain, onPart: async () => undefined }, never);
    assert.deepEqual(await rig.sink(0).pack(plain), expected);
  });
});

async function onceAborted(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
