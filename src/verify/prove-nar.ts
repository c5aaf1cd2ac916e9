import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { pipeline, Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createZstdDecompress } from "node:zlib";

import type { CacheReader } from "../cache/reader.ts";
import { HandpickError } from "../error.ts";
import { systemCode } from "../files/system-code.ts";
import { FormatError } from "../nix/format-error.ts";
import { sha256FromDigest } from "../nix/hash.ts";
import type { NarCompression, NarInfo } from "../nix/narinfo.ts";
import { UNPACK_XZ } from "../xz.ts";
import { contentCheck } from "./content-check.ts";
import { cutAtFrames } from "./zstd-frames.ts";

const STREAMS = {
  zstd: createZstdDecompress,
  gzip: createGunzip,
  br: createBrotliDecompress,
} as const;

const PROGRAMS: Partial<Record<NarCompression, readonly string[]>> = {
  xz: UNPACK_XZ,
  bzip2: ["bzip2", "--decompress", "--stdout"],
};

/**
 * Reads the NAR of a path to its end, unpacks it and compares it with its narinfo: sizes and hashes of the file
 * and of the NAR, that it is well-formed, and its contents, where it has a content address.
 *
 * @returns Why it is not what the narinfo says, for people; undefined if it is.
 * @throws {HandpickError} Where the server gives no answer, or `COMPRESSOR_FAILED` if this machine cannot unpack it.
 */
export async function proveNar(
  narInfo: NarInfo,
  reader: CacheReader,
  signal: AbortSignal,
): Promise<string | undefined> {
  const file = new Measure(narInfo.fileSize ?? Infinity);
  const nar = new Measure(narInfo.narSize);
  const check = contentCheck(narInfo);
  // Ends whatever unpacks when the rest of it is not wanted.
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  try {
    const packed = file.measured(reader.nar(narInfo.url, { signal: either }));
    for await (const chunk of nar.measured(unpacked(packed, narInfo.compression, either))) {
      check.write(chunk);
    }
    return difference(narInfo, { file, nar }) ?? check.end();
  } catch (error) {
    signal.throwIfAborted();
    return damageOf(error);
  } finally {
    stop.abort();
  }
}

function difference(
  { fileSize, fileHash, narSize, narHash }: NarInfo,
  { file, nar }: { readonly file: Measure; readonly nar: Measure },
): string | undefined {
  if (fileSize !== undefined && file.size !== fileSize) return `the file has ${file.size} bytes`;
  if (nar.size !== narSize) return `the NAR has ${nar.size} bytes, and not ${narSize}`;
  if (fileHash !== undefined && file.hash() !== fileHash) return "the file has another hash";
  return nar.hash() === narHash ? undefined : "the NAR has another hash";
}

/** Returns what is wrong with the bytes. @throws What is wrong with something else. */
function damageOf(error: unknown): string {
  if (error instanceof Damage || error instanceof FormatError) return error.message;
  if (error instanceof HandpickError && error.code === "CACHE_PROTOCOL") return error.message;
  const code = systemCode(error) ?? "";
  if (/^(?:ZSTD|Z|ERR_BROTLI|ERR__ERROR|ERR_)_?/.test(code))
    return `it cannot be unpacked: ${code}`;
  throw error;
}

/** Bytes are not what they are said to be. */
class Damage extends Error {}

/** Measures bytes that pass, and lets no more pass than there may be. */
class Measure {
  size = 0;
  readonly #hash = createHash("sha256");
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  async *measured(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      this.size += chunk.length;
      if (this.size > this.#limit) throw new Damage(`it is longer than ${this.#limit} bytes`);
      this.#hash.update(chunk);
      yield chunk;
    }
  }

  hash(): string {
    return sha256FromDigest(this.#hash.digest());
  }
}

function unpacked(
  bytes: AsyncIterable<Uint8Array>,
  compression: NarCompression,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  if (compression === "none") return bytes;
  if (compression === "zstd" || compression === "gzip" || compression === "br") {
    const unpacker = STREAMS[compression]();
    const pieces = compression === "zstd" ? cutAtFrames(bytes) : bytes;
    // As objects, so that no two pieces become one. An error of either is that of the other, and of the reader.
    const source = Readable.from(pieces, { objectMode: true, highWaterMark: 1, signal });
    pipeline(source, unpacker, () => undefined);
    return unpacker;
  }
  const command = PROGRAMS[compression];
  if (command !== undefined) return unpackedBy(command, bytes, signal);
  throw new HandpickError(
    "COMPRESSOR_FAILED",
    `Cannot unpack NARs of ${compression}: handpick unpacks zstd, xz, bzip2, gzip, br and none`,
  );
}

async function* unpackedBy(
  [program = "", ...args]: readonly string[],
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const env = { PATH: process.env["PATH"] };
  const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "ignore"], signal });
  const closed = new Promise<number | Error | null>((resolve) => {
    child.on("error", resolve);
    child.on("close", resolve);
  });
  const fed = Readable.from(bytes, { objectMode: false, signal });
  let failure: unknown;
  fed.on("error", (error) => {
    failure = error;
    child.kill("SIGKILL");
  });
  // A program that ended early reads no more; how it ended says why.
  child.stdin.on("error", () => undefined);
  fed.pipe(child.stdin);
  yield* child.stdout as AsyncIterable<Buffer>;
  const end = await closed;
  if (failure !== undefined) throw failure;
  if (end instanceof Error) {
    throw new HandpickError("COMPRESSOR_FAILED", `Cannot unpack NARs: ${program} does not start`, {
      cause: end,
      hint: `Install ${program}, or leave out --deep.`,
    });
  }
  if (end !== 0) throw new Damage(`${program} cannot unpack it`);
}
