import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { fstatSync, readdirSync, readlinkSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { describe, it } from "node:test";

import { smallDisk } from "../../test/small-disk.ts";
import { tempDir } from "../../test/temp.ts";
import type { Extent } from "./extents.ts";
import { SpoolFile } from "./spool-file.ts";

const MIB = 1 << 20;

async function written(spool: SpoolFile, bytes: Uint8Array): Promise<Extent> {
  return (await spool.write(bytes)) ?? assert.fail("there is no room");
}

async function readBack(spool: SpoolFile, extent: Extent, sizeBytes: number): Promise<Buffer> {
  const into = Buffer.alloc(sizeBytes);
  assert.equal(await spool.read(extent, into), true);
  return into;
}

/** The open files of this process that were made in `dir`. */
function openIn(dir: string): number[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${dir}/`) ? [Number(fd)] : [];
    } catch {
      return []; // the one that lists the folder
    }
  });
}

describe("SpoolFile", () => {
  it("gives back what was written, from any number of places at once", async () => {
    await using temp = await tempDir();
    await using spool = new SpoolFile({ dir: temp.dir, limitBytes: 64 * MIB });
    const pieces = [1, 4096, 70_000, 2 * MIB].map((size) => randomBytes(size));
    const extents = await Promise.all(pieces.map((piece) => written(spool, piece)));
    for (const [index, extent] of extents.entries()) {
      const piece = pieces[index] ?? assert.fail();
      assert.ok((await readBack(spool, extent, piece.length)).equals(piece));
    }
  });

  it("has no name, is for its owner alone, and uses the same place again", async () => {
    await using temp = await tempDir();
    {
      await using spool = new SpoolFile({ dir: temp.dir, limitBytes: 64 * MIB });
      assert.deepEqual(openIn(temp.dir), []);
      for (let round = 0; round < 10; round++) spool.free(await written(spool, randomBytes(MIB)));
      const [fd = -1] = openIn(temp.dir);
      const { mode, nlink, size } = fstatSync(fd);
      assert.deepEqual([mode & 0o777, nlink, size], [0o600, 0, MIB]);
      assert.deepEqual(readdirSync(temp.dir), []);
    }
    assert.deepEqual(openIn(temp.dir), []);
  });

  it("has no room beyond its limit until something is given back", async () => {
    await using temp = await tempDir();
    await using spool = new SpoolFile({ dir: temp.dir, limitBytes: 2 * MIB });
    const first = await written(spool, randomBytes(MIB));
    await written(spool, randomBytes(MIB));
    assert.equal(await spool.write(randomBytes(1)), undefined);
    spool.free(first);
    await written(spool, randomBytes(MIB));
  });

  it("has no room where it cannot make its file", async () => {
    await using temp = await tempDir();
    await using spool = new SpoolFile({ dir: `${temp.dir}/none`, limitBytes: 2 * MIB });
    assert.equal(await spool.write(randomBytes(1)), undefined);
    assert.equal(spool.limitBytes, 0);
  });

  it("holds on a full disk what is there, and has no more room than that", async (t) => {
    await using disk = await smallDisk(4 * MIB);
    if (disk === undefined) return t.skip("this user may not mount");
    await using spool = new SpoolFile({ dir: disk.dir, limitBytes: 64 * MIB });
    const kept = randomBytes(MIB / 2);
    const extent = await written(spool, kept);
    assert.equal(spool.limitBytes, MIB, "a quarter of what is free");
    await assert.rejects(writeFile(`${disk.dir}/others`, randomBytes(4 * MIB)), { code: "ENOSPC" });
    assert.equal(await spool.write(randomBytes(MIB / 2)), undefined);
    assert.ok((await readBack(spool, extent, kept.length)).equals(kept));
    assert.equal(spool.limitBytes, MIB / 2);
    spool.free(extent);
    await written(spool, randomBytes(MIB / 2));
  });
});
