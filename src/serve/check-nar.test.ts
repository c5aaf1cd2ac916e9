import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { addAbortListener } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";

import { fileNar, sample, temporaryFolder, type TemporaryFolder } from "../../test/serve-client.ts";
import { sha256FromDigest } from "../nix/hash.ts";
import { checkZstdNar, type FileCompression, unpackXz, ZstdUnpacker } from "./check-nar.ts";
import { NarMeter } from "./nar-meter.ts";

const NAR = fileNar("hello\n");
const NEVER = new AbortController().signal;
const hashOf = (bytes: Uint8Array): ReturnType<typeof sha256FromDigest> =>
  sha256FromDigest(createHash("sha256").update(bytes).digest());

function pick(error: unknown): Record<string, unknown> {
  assert.ok(error instanceof Error);
  return { name: error.name, message: error.message };
}

/** Unpacks as it is done with a file that comes in pieces. */
async function unpackZstd(file: Uint8Array, meter: NarMeter, signal: AbortSignal): Promise<void> {
  const unpacker = new ZstdUnpacker(meter);
  using _stop = addAbortListener(signal, () => unpacker.stop(signal.reason));
  try {
    for (let at = 0; at < file.length; at += 1000)
      await unpacker.write(file.subarray(at, at + 1000));
    await unpacker.end();
  } finally {
    unpacker.stop(new Error("The test is over"));
  }
}

describe("a NAR in a file", () => {
  let folder: TemporaryFolder;
  before(async () => {
    folder = await temporaryFolder();
  });
  after(() => folder[Symbol.asyncDispose]());

  interface Case {
    readonly file: Uint8Array;
    readonly nar?: Uint8Array;
    readonly compression?: FileCompression;
    readonly signal?: AbortSignal;
  }
  async function checkStreamed({
    file,
    nar = NAR,
    compression = "zst",
    signal = NEVER,
  }: Case): Promise<void> {
    const claim = { narHash: hashOf(nar), narSize: nar.length };
    const meter = new NarMeter(nar.length);
    if (compression === "xz") {
      const path = join(folder.path, "file");
      await writeFile(path, file);
      await unpackXz(path, meter, signal);
    } else {
      await unpackZstd(file, meter, signal);
    }
    meter.assertClaim(claim);
  }

  /** Has both ways of unpacking zstd say the same. */
  async function check(one: Case): Promise<void> {
    const [streamed] = await Promise.allSettled([checkStreamed(one)]);
    if (one.compression !== "xz" && one.signal === undefined) {
      const { file, nar = NAR } = one;
      const claim = { narHash: hashOf(nar), narSize: nar.length };
      if (streamed.status === "fulfilled") checkZstdNar(file, claim);
      else assert.throws(() => checkZstdNar(file, claim), pick(streamed.reason));
    }
    if (streamed.status === "rejected") throw streamed.reason;
  }

  it("accepts a NAR by either method", async () => {
    await check({ file: zstdCompressSync(NAR) });
    await check({
      file: sample("x", { contents: "hello\n", compression: "xz" }).file,
      compression: "xz",
    });
  });

  it("accepts a NAR of many chunks", async () => {
    const nar = fileNar(Buffer.alloc(3_000_000, "0123456789"));
    await check({ file: zstdCompressSync(nar), nar });
    const { file } = sample("x", {
      contents: Buffer.alloc(3_000_000, "0123456789"),
      compression: "xz",
    });
    await check({ file, nar, compression: "xz" });
  });

  it("refuses another size, in both directions, and another hash", async () => {
    const file = zstdCompressSync(NAR);
    await assert.rejects(check({ file, nar: NAR.subarray(1) }), { status: 400, message: /longer/ });
    const longer = Buffer.concat([NAR, NAR]);
    await assert.rejects(check({ file, nar: longer }), { status: 400, message: /cNarSize/ });
    const other = fileNar("hellO\n");
    await assert.rejects(check({ file, nar: other }), { status: 400, message: /cNarHash/ });
  });

  it("refuses what is not a NAR, though its hash is right", async () => {
    const nar = Buffer.from("not a NAR at all, whatever its hash says");
    await assert.rejects(check({ file: zstdCompressSync(nar), nar }), { name: "FormatError" });
    const cut = NAR.subarray(0, -8);
    await assert.rejects(check({ file: zstdCompressSync(cut), nar: cut }), { name: "FormatError" });
    const { file } = sample("x", { compression: "xz" });
    await assert.rejects(check({ file, compression: "xz", nar: Buffer.alloc(10) }), {
      status: 400,
    });
  });

  it("refuses a stream that is cut, spoilt, followed by something or of the other method", async () => {
    const zst = zstdCompressSync(NAR);
    const spoilt = Buffer.from(zst);
    spoilt.fill(0xff, 10, 20);
    const xz = sample("x", { contents: "hello\n", compression: "xz" }).file;
    const rest = Buffer.from("rest of something");
    for (const file of [
      zst.subarray(0, -1),
      spoilt,
      Buffer.concat([zst, rest]),
      xz,
      Buffer.alloc(0),
    ]) {
      await assert.rejects(check({ file }), { status: 400 });
    }
    for (const file of [xz.subarray(0, -1), Buffer.concat([xz, rest]), zst, Buffer.alloc(0)]) {
      await assert.rejects(check({ file, compression: "xz" }), { status: 400 });
    }
  });

  it("stops unpacking a bomb where its claimed size ends", async () => {
    const bomb = fileNar(Buffer.alloc(10_000_000));
    for (const compression of ["zst", "xz"] as const) {
      const { file } = sample("bomb", { contents: Buffer.alloc(10_000_000), compression });
      assert.ok(file.length < 20_000);
      const checking = check({ file, nar: bomb.subarray(0, 1000), compression });
      await assert.rejects(checking, { status: 400, message: /longer than cNarSize/ });
    }
  });

  it("stops when it is told to", async () => {
    const contents = Buffer.alloc(10_000_000);
    for (const compression of ["zst", "xz"] as const) {
      const { file, nar } = sample("long", { contents, compression });
      const controller = new AbortController();
      const checking = check({ file, nar, compression, signal: controller.signal });
      controller.abort();
      await assert.rejects(checking, { name: "AbortError" });
    }
  });
});
