import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { zstdDecompressSync } from "node:zlib";

import { tempDir } from "../../test/temp.ts";
import { sha256FromHex } from "../nix/hash.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { NarListing } from "../nix/nar-listing.ts";
import { NarReader } from "../nix/nar-reader.ts";
import { PackPool } from "./pack-pool.ts";
import type { PackRequest } from "./pack-pool.ts";
import type { PackResult } from "./pack-protocol.ts";

const never = new AbortController().signal;
const MIB = 1 << 20;

const digest = (algorithm: string, bytes: Uint8Array): string =>
  createHash(algorithm).update(bytes).digest("hex");

/** A tiny path is packed in the calling thread. */
const KINDS = [
  ["tiny", 1_000],
  ["small", 100_000],
] as const;

const total = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

const dump = (path: string): Buffer =>
  execFileSync("nix-store", ["--dump", path], { maxBuffer: 1 << 30 });

const UNPACK = {
  // Stops after the first frame: that the result is whole shows that there is one.
  zstd: (file: Buffer): Buffer => zstdDecompressSync(file),
  xz: (file: Buffer): Buffer => execFileSync("xz", ["-d"], { input: file, maxBuffer: 1 << 30 }),
  none: (file: Buffer): Buffer => file,
};

/** Programs that any of our threads started and that were not ended. */
function childPids(): string[] {
  return readdirSync("/proc/self/task").flatMap((thread) => {
    const children = readFileSync(`/proc/self/task/${thread}/children`, "utf8");
    return children.split(" ").filter((pid) => pid !== "");
  });
}

/** The command line of a process; empty once it has ended. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

interface Packed {
  readonly result: PackResult;
  readonly sizes: number[];
  /** NAR bytes by part. */
  readonly covered: number[];
  readonly file: Buffer;
}

async function packAll(pool: PackPool, request: Omit<PackRequest, "onPart">): Promise<Packed> {
  const parts: Buffer[] = [];
  const covered: number[] = [];
  const ends: (readonly [number: number, fileHash: string])[] = [];
  const result = await pool.pack(
    {
      md5: true,
      ...request,
      onPart: async ({ number, offset, bytes, md5, narBytes, isLast, hashSoFar }) => {
        assert.equal(offset, (number - 1) * request.partSize);
        assert.equal(md5, createHash("md5").update(bytes).digest("base64"));
        parts[number - 1] = Buffer.from(bytes);
        covered[number - 1] = narBytes;
        if (isLast) ends.push([number, hashSoFar]);
      },
    },
    never,
  );
  assert.deepEqual(ends, [[parts.length, result.fileHash]]);
  const sizes = parts.map((part) => part.length);
  return { result, sizes, covered, file: Buffer.concat(parts) };
}

async function makeTree(dir: string, sizeBytes: number): Promise<string> {
  await mkdir(`${dir}/tree/sub`, { recursive: true });
  await writeFile(`${dir}/tree/random`, randomBytes(Math.floor(sizeBytes / 2)));
  await writeFile(`${dir}/tree/sub/zeros`, Buffer.alloc(Math.ceil(sizeBytes / 2)));
  return `${dir}/tree`;
}

describe("PackPool", () => {
  it("knows the last part of a file that fills all its parts", async () => {
    await using temp = await tempDir();
    await using pool = new PackPool({ threads: 1 });
    const physicalPath = await makeTree(temp.dir, 80_000);
    const nar = dump(physicalPath);
    const request = { physicalPath, narSize: nar.length, level: undefined };
    const partSize = nar.length / 4;
    const { sizes } = await packAll(pool, { ...request, compression: "none", partSize });
    assert.deepEqual(sizes, [partSize, partSize, partSize, partSize]);
  });

  for (const compression of ["zstd", "xz", "none"] as const) {
    for (const [kind, sizeBytes] of [
      ["tiny", 10_000],
      ["small", 100_000],
      ["large", 21 * MIB],
    ] as const) {
      it(`packs a ${kind} path with ${compression} to one stream that holds what Nix dumps`, async () => {
        await using temp = await tempDir();
        await using pool = new PackPool({ threads: 2 });
        const physicalPath = await makeTree(temp.dir, sizeBytes);
        const nar = dump(physicalPath);
        const level = compression === "xz" ? 0 : undefined;
        const request = { physicalPath, narSize: nar.length, compression, level };
        const { result, sizes, covered, file } = await packAll(pool, {
          ...request,
          partSize: 5 * MIB,
        });
        assert.ok(UNPACK[compression](file).equals(nar));
        assert.deepEqual(result, {
          narHash: digest("sha256", nar),
          narSize: nar.length,
          fileHash: digest("sha256", file),
          fileSize: file.length,
          listing: undefined,
        });
        assert.ok(sizes.slice(0, -1).every((size) => size === 5 * MIB));
        assert.ok((sizes.at(-1) ?? 0) > 0);
        assert.equal(total(covered), nar.length);
      });
    }
  }

  for (const [kind, sizeBytes] of [
    ["tiny", 1_000],
    ["small", 100_000],
    ["large", 5 * MIB],
  ] as const) {
    it(`lists what it packs of a ${kind} path where that is asked for`, async () => {
      await using temp = await tempDir();
      await using pool = new PackPool({ threads: 1 });
      const physicalPath = await makeTree(temp.dir, sizeBytes);
      const nar = dump(physicalPath);
      const expected = new NarListing();
      new NarReader(expected).write(nar);
      const request = { physicalPath, narSize: nar.length, compression: "zstd", level: 1 } as const;
      const packed = await packAll(pool, { ...request, partSize: 5 * MIB, listing: true });
      assert.deepEqual(packed.result.listing, expected.listing);
    });
  }

  it("tells with each part how much of the NAR it stands for", async () => {
    await using temp = await tempDir();
    await using pool = new PackPool({ threads: 2 });
    await writeFile(`${temp.dir}/f`, randomBytes(40 * MIB));
    const narSize = 40 * MIB + 112;
    const request = { physicalPath: `${temp.dir}/f`, narSize, level: 1, partSize: 8 * MIB };
    const { covered } = await packAll(pool, { ...request, compression: "zstd" });
    for (let parts = 1; parts <= covered.length; parts += 1) {
      // Random bytes do not shrink, so a part of 8 MiB holds as much of the NAR.
      const ahead = total(covered.slice(0, parts)) - Math.min(parts * 8 * MIB, narSize);
      assert.ok(Math.abs(ahead) < MIB / 16, `part ${parts} is ${ahead} bytes ahead`);
    }
    assert.equal(total(covered), narSize);
  });

  it("packs many paths at once within its memory", async () => {
    await using temp = await tempDir();
    await using pool = new PackPool({ threads: 2, memoryBytes: 6 * MIB });
    const physicalPath = await makeTree(temp.dir, 12 * MIB);
    const nar = dump(physicalPath);
    const plain = { physicalPath, narSize: nar.length, compression: "none" } as const;
    const request = { ...plain, level: undefined, partSize: MIB };
    const full = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    let waiting = 0;
    let most = 0;
    const onPart = async ({ bytes }: { readonly bytes: Uint8Array }): Promise<void> => {
      waiting += bytes.length;
      most = Math.max(most, waiting);
      if (waiting >= 6 * MIB) full.resolve();
      await goOn.promise;
      waiting -= bytes.length;
    };
    const packing = Promise.all([1, 2, 3, 4].map(() => pool.pack({ ...request, onPart }, never)));
    await full.promise;
    // As long as this takes, the others could go on if they had memory.
    await using other = new PackPool({ threads: 2 });
    await packAll(other, request);
    goOn.resolve();
    const results = await packing;
    assert.ok(results.every(({ narHash }) => narHash === digest("sha256", nar)));
    assert.ok(most <= 6 * MIB, `${most} bytes waited at once`);
  });

  for (const compression of ["zstd", "xz", "none"] as const) {
    for (const [kind, narSize] of [...KINDS, ["large", 5 * MIB]] as const) {
      it(`reads one byte more than recorded of a ${kind} path with ${compression}`, async () => {
        await using temp = await tempDir();
        await using pool = new PackPool({ threads: 1 });
        const physicalPath = `${temp.dir}/f`;
        await writeFile(physicalPath, "");
        await truncate(physicalPath, 2 ** 40);
        const request = { physicalPath, narSize, compression, level: 1, partSize: MIB } as const;
        const { result } = await packAll(pool, request);
        assert.equal(result.narSize, narSize + 1);
      });
    }
  }

  for (const compression of ["zstd", "xz", "none"] as const) {
    for (const [kind, narSize] of [...KINDS, ["large", 8 * MIB]] as const) {
      it(`keeps the last part of a ${kind} path with ${compression} that is not as recorded`, async () => {
        await using temp = await tempDir();
        await using pool = new PackPool({ threads: 2 });
        const physicalPath = `${temp.dir}/f`;
        // The NAR of one file has 112 bytes more; its last part is full where nothing shrinks it.
        await writeFile(physicalPath, randomBytes(narSize - 112));
        const level = compression === "xz" ? 0 : 1;
        const plain = { physicalPath, narSize, compression, level, partSize: 4 * MIB } as const;
        const { result, sizes } = await packAll(pool, plain);
        const path = parseStorePath(`/nix/store/${"a".repeat(32)}-f`);
        const narHash = sha256FromHex(result.narHash);
        await packAll(pool, { ...plain, recorded: { path, narHash, narSize } });
        const file = await readFile(physicalPath);
        file[file.length - 1] = (file.at(-1) ?? 0) ^ 1;
        await writeFile(physicalPath, file);
        const numbers: number[] = [];
        const onPart = async ({ number }: { readonly number: number }): Promise<void> =>
          void numbers.push(number);
        const packing = pool.pack(
          { ...plain, recorded: { path, narHash, narSize }, onPart },
          never,
        );
        await assert.rejects(packing, { code: "STORE_PATH_CORRUPT", message: /^Cannot push f: / });
        assert.ok(numbers.length < sizes.length, `${numbers.join()} of ${sizes.length}`);
      });
    }
  }

  for (const [kind, sizeBytes] of KINDS) {
    it(`settles once every part of a ${kind} path is done with, also if one fails`, async () => {
      await using temp = await tempDir();
      await using pool = new PackPool({ threads: 1 });
      const physicalPath = `${temp.dir}/f`;
      await writeFile(physicalPath, randomBytes(sizeBytes));
      const plain = { physicalPath, narSize: sizeBytes + 200, level: 3 } as const;
      for (const isFailing of [false, true]) {
        let open = 0;
        const onPart = async ({ number }: { readonly number: number }): Promise<void> => {
          open += 1;
          if (isFailing && number === 1) {
            open -= 1;
            throw new Error("no room");
          }
          for (let turn = 0; turn < 50; turn++)
            await new Promise((next) => void setImmediate(next));
          open -= 1;
        };
        const request = { ...plain, compression: "zstd", partSize: 512, onPart } as const;
        const packing = pool.pack(request, never);
        if (isFailing) await assert.rejects(packing, /no room/);
        else await packing;
        assert.equal(open, 0);
      }
    });
  }

  for (const [kind, narSize] of KINDS) {
    it(`throws what reading a ${kind} path threw, and goes on with the next`, async () => {
      await using temp = await tempDir();
      await using pool = new PackPool({ threads: 1 });
      const request = { narSize, compression: "zstd", level: 3, partSize: MIB } as const;
      const gone = packAll(pool, { ...request, physicalPath: `${temp.dir}/none` });
      await assert.rejects(gone, { name: "HandpickError", code: "STORE_PATH_GONE" });
      await writeFile(`${temp.dir}/f`, "x");
      const { result } = await packAll(pool, { ...request, physicalPath: `${temp.dir}/f` });
      assert.equal(result.narSize, 120);
    });
  }

  it("packs a path of which the store did not record the size", async () => {
    await using temp = await tempDir();
    await using pool = new PackPool({ threads: 1 });
    const tree = await makeTree(temp.dir, 10_000);
    const request = { narSize: 0, compression: "zstd", level: 3, partSize: MIB } as const;
    const { result } = await packAll(pool, { ...request, physicalPath: tree });
    assert.equal(result.narHash, digest("sha256", dump(tree)));
  });

  it("stops at the first part that fails and throws its error", async () => {
    await using temp = await tempDir();
    await using pool = new PackPool({ threads: 2 });
    await writeFile(`${temp.dir}/f`, "");
    await truncate(`${temp.dir}/f`, 2 ** 40);
    const endless = pool.pack(
      {
        physicalPath: `${temp.dir}/f`,
        narSize: 2 ** 40,
        compression: "none",
        level: undefined,
        partSize: MIB,
        onPart: () => Promise.reject(new Error("no room")),
      },
      never,
    );
    await assert.rejects(endless, /no room/);
  });

  it("has all of its memory again after paths that were given up, and leaves nothing", async () => {
    await using temp = await tempDir();
    const listeners = process.listenerCount("exit");
    {
      await using pool = new PackPool({ threads: 1, memoryBytes: MIB });
      await writeFile(`${temp.dir}/f`, randomBytes(3 * MIB));
      const physicalPath = `${temp.dir}/f`;
      const plain = { physicalPath, compression: "none", level: undefined, partSize: MIB } as const;
      const request = { ...plain, narSize: 3 * MIB + 112 };
      for (let round = 0; round < 10; round++) {
        const onPart = async (): Promise<void> => {
          // Meanwhile the thread asks for the memory of the next part.
          for (let turn = 0; turn < 10; turn++)
            await new Promise((next) => void setImmediate(next));
          throw new Error("no room");
        };
        await assert.rejects(pool.pack({ ...request, onPart }, never), /no room/);
      }
      assert.equal((await packAll(pool, request)).result.narSize, request.narSize);
    }
    assert.equal(process.listenerCount("exit"), listeners);
  });

  it("stops at once when it is aborted, whether packing or waiting", async () => {
    await using temp = await tempDir();
    await using pool = new PackPool({ threads: 1 });
    await writeFile(`${temp.dir}/f`, "");
    await truncate(`${temp.dir}/f`, 2 ** 40);
    const aborted = new AbortController();
    const started = Promise.withResolvers<void>();
    const endless = (onPart: () => Promise<void>): Promise<PackResult> =>
      pool.pack(
        {
          physicalPath: `${temp.dir}/f`,
          narSize: 2 ** 40,
          compression: "zstd",
          level: undefined,
          partSize: 4096,
          onPart,
        },
        aborted.signal,
      );
    const packing = endless(async () => started.resolve());
    const waiting = endless(async () => assert.fail("a waiting path must not begin"));
    const both = Promise.allSettled([packing, waiting]);
    await started.promise;
    aborted.abort(new Error("Interrupted"));
    for (const end of await both) {
      assert.equal(end.status, "rejected");
      assert.match(String(end.reason), /Interrupted/);
    }
  });

  it("ends the xz of a path that is given up", { timeout: 10_000 }, async () => {
    await using temp = await tempDir();
    await writeFile(`${temp.dir}/f`, "x");
    // As one that is busy with what it read: it does not notice that nobody listens any more.
    await writeFile(`${temp.dir}/xz`, "#!/bin/sh\nexec sleep 6543\n", { mode: 0o755 });
    const running = (): boolean => childPids().some((pid) => commandOf(pid).includes("6543"));
    const path = process.env["PATH"];
    process.env["PATH"] = `${temp.dir}:${path}`;
    try {
      await using pool = new PackPool({ threads: 1 });
      const aborted = new AbortController();
      const request = { physicalPath: `${temp.dir}/f`, narSize: 120, level: 1, partSize: MIB };
      const onPart = (): Promise<void> => assert.fail("it never writes");
      const packing = pool.pack({ ...request, compression: "xz", onPart }, aborted.signal);
      const ended = assert.rejects(packing, /enough/);
      while (!running()) await new Promise((resolve) => void setImmediate(resolve));
      aborted.abort(new Error("enough"));
      await ended;
      while (running()) await new Promise((resolve) => void setImmediate(resolve));
    } finally {
      process.env["PATH"] = path;
    }
  });

  it("has xz do as it is told, whatever XZ_OPT says", async () => {
    await using temp = await tempDir();
    await writeFile(`${temp.dir}/f`, "x");
    let packed: Packed;
    process.env["XZ_OPT"] = "--no-such-option";
    try {
      await using pool = new PackPool({ threads: 1 });
      const request = { physicalPath: `${temp.dir}/f`, narSize: 120, level: 1, partSize: MIB };
      packed = await packAll(pool, { ...request, compression: "xz" });
    } finally {
      delete process.env["XZ_OPT"];
    }
    assert.equal(UNPACK.xz(packed.file).length, 120);
  });

  it("names xz when there is none", async () => {
    await using temp = await tempDir();
    await writeFile(`${temp.dir}/f`, "x");
    const path = process.env["PATH"];
    process.env["PATH"] = temp.dir;
    try {
      await using pool = new PackPool({ threads: 1 });
      const request = {
        physicalPath: `${temp.dir}/f`,
        narSize: 120,
        level: 1,
        partSize: MIB,
      } as const;
      const packed = packAll(pool, { ...request, compression: "xz" });
      await assert.rejects(packed, { code: "COMPRESSOR_FAILED", message: /xz/ });
    } finally {
      process.env["PATH"] = path;
    }
  });
});
