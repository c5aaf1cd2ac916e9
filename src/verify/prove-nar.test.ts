import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";

import { toyPath } from "../../test/toy-paths.ts";
import type { CacheReader } from "../cache/reader.ts";
import { HandpickError } from "../error.ts";
import { sha256FromDigest, type Sha256 } from "../nix/hash.ts";
import type { NarCompression, NarInfo } from "../nix/narinfo.ts";
import { parseStorePath } from "../nix/store-path.ts";
import { proveNar } from "./prove-nar.ts";

const { signal } = new AbortController();

/** The NAR of a regular file. */
function narOf(contents: Uint8Array): Buffer {
  const word = (bytes: Uint8Array): Buffer => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(bytes.length));
    return Buffer.concat([size, bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  };
  const words = ["nix-archive-1", "(", "type", "regular", "contents"].map((one) =>
    Buffer.from(one),
  );
  return Buffer.concat([...words, contents, Buffer.from(")")].map(word));
}

const TEXT = Buffer.alloc(300_000, "some text that repeats ");
const NAR = narOf(TEXT);
const hashOf = (bytes: Uint8Array): Sha256 =>
  sha256FromDigest(createHash("sha256").update(bytes).digest());

const PACK: Partial<Record<NarCompression, (nar: Buffer) => Buffer>> = {
  none: (nar) => nar,
  zstd: zstdCompressSync,
  gzip: gzipSync,
  br: brotliCompressSync,
  xz: (input) => execFileSync("xz", ["--stdout"], { input }),
  bzip2: (input) => execFileSync("bzip2", ["--stdout"], { input }),
};

function packed(compression: NarCompression, nar = NAR): { file: Buffer; narInfo: NarInfo } {
  const file = PACK[compression]?.(nar) ?? nar;
  const narInfo: NarInfo = {
    storePath: toyPath("text"),
    url: "nar/x",
    compression,
    fileHash: hashOf(file),
    fileSize: file.length,
    narHash: hashOf(nar),
    narSize: nar.length,
    references: [],
    deriver: undefined,
    system: undefined,
    signatures: [],
    ca: undefined,
  };
  return { file, narInfo };
}

/** A reader that hands out a file in pieces, and tells whether it was read to its end or closed. */
function readerOf(file: Uint8Array, failure?: Error): CacheReader & { isClosed: boolean } {
  const none = (): never => assert.fail();
  return {
    url: "https://cache.example",
    isClosed: false,
    info: none,
    narInfo: none,
    narSize: none,
    async *nar() {
      try {
        for (let at = 0; at < file.length; at += 10_000) yield file.subarray(at, at + 10_000);
        if (failure !== undefined) throw failure;
      } finally {
        this.isClosed = true;
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}

describe("proveNar()", () => {
  for (const compression of Object.keys(PACK) as NarCompression[]) {
    it(`finds nothing wrong with what is right, packed by ${compression}`, async () => {
      const { file, narInfo } = packed(compression);
      assert.equal(await proveNar(narInfo, readerOf(file), signal), undefined);
    });

    it(`finds a byte that was changed, packed by ${compression}`, async () => {
      const { file, narInfo } = packed(compression);
      const damaged = Buffer.from(file);
      const middle = Math.floor(file.length / 2);
      damaged[middle] = (damaged[middle] ?? 0) ^ 1;
      assert.match((await proveNar(narInfo, readerOf(damaged), signal)) ?? "", /./);
    });

    it(`finds a file that was cut, packed by ${compression}`, async () => {
      const { file, narInfo } = packed(compression);
      const reader = readerOf(file.subarray(0, -9));
      assert.match((await proveNar(narInfo, reader, signal)) ?? "", /./);
      assert.ok(reader.isClosed);
    });
  }

  it("reads a file of several frames or members, as Attic serves and as pzstd and pigz make", async () => {
    for (const compression of ["zstd", "gzip", "xz"] as const) {
      const pack = PACK[compression] ?? assert.fail();
      const pieces = [NAR.subarray(0, 1000), NAR.subarray(1000, 1001), NAR.subarray(1001)].map(
        pack,
      );
      const file = Buffer.concat(pieces);
      const { narInfo } = packed(compression);
      const own = { ...narInfo, fileSize: file.length, fileHash: hashOf(file) };
      assert.equal(await proveNar(own, readerOf(file), signal), undefined, compression);
    }
  });

  it("takes no more than the narinfo says", async () => {
    const huge = packed("zstd", narOf(Buffer.alloc(50_000_000)));
    const small = packed("zstd").narInfo;
    const narInfo = { ...small, fileSize: undefined, fileHash: undefined };
    const reader = readerOf(huge.file);
    assert.equal(
      await proveNar(narInfo, reader, signal),
      `it is longer than ${small.narSize} bytes`,
    );
  });

  it("says which of the two hashes is wrong", async () => {
    const { file, narInfo } = packed("none");
    const other = hashOf(Buffer.from("other"));
    assert.equal(
      await proveNar({ ...narInfo, fileHash: other }, readerOf(file), signal),
      "the file has another hash",
    );
    assert.equal(
      await proveNar({ ...narInfo, narHash: other }, readerOf(file), signal),
      "the NAR has another hash",
    );
  });

  describe("of a path with a content address", () => {
    const digest = (algorithm: string, bytes: Uint8Array): string =>
      `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
    const faultOf = (change: Partial<NarInfo>, nar = NAR): Promise<string | undefined> => {
      const { file, narInfo } = packed("none", nar);
      return proveNar({ ...narInfo, ...change }, readerOf(file), signal);
    };
    const wrong = "its contents are not those of its content address";

    it("compares the contents with it", async () => {
      for (const ca of [
        `text:${digest("sha256", TEXT)}`,
        `fixed:${digest("sha512", TEXT)}`,
        `fixed:r:${digest("sha1", NAR)}`,
      ]) {
        assert.equal(await faultOf({ ca }), undefined, ca);
        assert.equal(await faultOf({ ca }, narOf(Buffer.from("other"))), wrong, ca);
      }
    });

    it("reads its own hash as zeros, as Nix did when it made the path", async () => {
      const path = "/tmp/own/store/9sd3c2y4rsy3mw1fy65nb53qnsll7gl3-selfy";
      const storePath = parseStorePath(path, "/tmp/own/store");
      const ca = "fixed:r:sha256:0qfajiq6jn4wyk1dwzk331b9p98wgrbg2q6bnjpyap1wp9x59wwz";
      const own = { storePath, references: [storePath], ca };
      assert.equal(await faultOf(own, narOf(Buffer.from(`${path}\n`))), undefined);
      assert.equal(await faultOf(own, narOf(Buffer.from(path))), wrong);
    });
  });

  it("says nothing of a NAR where the server gives no answer, or that it cannot unpack", async () => {
    for (const compression of ["zstd", "xz"] as const) {
      const { file, narInfo } = packed(compression);
      const failure = new HandpickError("NETWORK", "Cannot read it");
      const reader = readerOf(file.subarray(0, 20_000), failure);
      await assert.rejects(proveNar(narInfo, reader, signal), failure);
    }
    const { file, narInfo } = packed("lz4");
    await assert.rejects(proveNar(narInfo, readerOf(file), signal), { code: "COMPRESSOR_FAILED" });
  });

  it("rejects with the reason of the signal", async () => {
    const { file, narInfo } = packed("zstd");
    const stop = new AbortController();
    const reason = new Error("stop");
    const reader = readerOf(file);
    reader.nar = async function* nar() {
      yield file.subarray(0, 10);
      stop.abort(reason);
      yield file.subarray(10, 20);
    };
    await assert.rejects(proveNar(narInfo, reader, stop.signal), reason);
  });
});
