import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { temporaryFolder } from "../../test/serve-client.ts";
import { receivePart } from "./receive-part.ts";
import type { TakeChunk } from "./request-body.ts";

const BYTES = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * i * 31) >> 3));

/** Hands bytes over in chunks of a size. */
function inChunks(bytes: Buffer, size: number): (take: TakeChunk) => Promise<void> {
  return async (take) => {
    for (let at = 0; at < bytes.length; at += size) await take(bytes.subarray(at, at + size));
  };
}

describe("receivePart()", () => {
  it("keeps a small part in memory and writes any other, in chunks of any size", async () => {
    await using folder = await temporaryFolder();
    const file = (name: string): string => join(folder.path, name);
    for (const length of [0, 1, 262_143, 262_144, 262_145, 500_000, 1_000_000]) {
      const sent = BYTES.subarray(0, length);
      for (const size of [1000, 65_536, 262_144, 1_000_000]) {
        const path = file(`${length}-${size}`);
        const { md5, sizeBytes, bytes } = await receivePart(path, inChunks(sent, size));
        assert.deepEqual(md5, createHash("md5").update(sent).digest());
        assert.equal(sizeBytes, length);
        assert.equal(existsSync(path), length > 262_144);
        assert.ok(sent.equals(bytes ?? (await readFile(path))));
      }
    }
  });

  it("writes single bytes as they come, and keeps few", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "part");
    const sent = BYTES.subarray(0, 263_000);
    const { bytes } = await receivePart(file, inChunks(sent, 1));
    assert.equal(bytes, undefined);
    assert.ok(sent.equals(await readFile(file)));
  });

  it("fails where the file cannot be written, and as its reader does", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "missing", "part");
    await assert.rejects(receivePart(file, inChunks(BYTES, 65_536)), { code: "ENOENT" });
    const failing = receivePart(join(folder.path, "part"), async (take) => {
      await inChunks(BYTES, 65_536)(take);
      throw new Error("cut");
    });
    await assert.rejects(failing, /cut/);
  });
});
