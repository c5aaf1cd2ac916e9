import { hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";

import { createCompressor, zstdOnce } from "./compressor.ts";
import type { CompressorOptions } from "./compressor.ts";
import { HashedNar } from "./hashed-nar.ts";
import type { PackJob, PackResult } from "./pack-protocol.ts";
import type { PackedPart } from "./part-sends.ts";
import { PartWriter } from "./part-writer.ts";
import type { Packed, PartSink } from "./part-writer.ts";

/** A NAR up to this size is read, hashed and compressed in one go. */
export const SMALL_NAR_BYTES: number = 4 << 20;

/**
 * Reads a store path as a NAR, hashes it, compresses it, hashes that too and cuts it into parts.
 *
 *     this thread       read + SHA-256 chunk n, SHA-256 + MD5 + parts of chunk n - lanes -> sink
 *     compressor        the chunks between, several at a time
 *
 * A NAR that fits into one chunk is compressed in this thread; the pool runs several such jobs.
 * The end of the file, and so the last part, is handed on only if the NAR is what was recorded:
 * an upload that lacks a part cannot be completed, by anybody.
 *
 * @throws {HandpickError} `STORE_PATH_CORRUPT` if it is not, and what reading or compressing throws.
 */
export async function pack(job: PackJob, sink: PackSink): Promise<PackResult> {
  using nar = new HashedNar(job);
  const writer = new PartWriter(sink, job);
  const isSmall = job.compression === "zstd" && job.narSize > 0 && job.narSize < SMALL_NAR_BYTES;
  const rest = isSmall
    ? { pieces: [packSmall(nar, job)], narBytes: nar.sizeBytes }
    : await packStream({ job, nar, onProgram: sink.onProgram }, writer);
  const found = nar.end();
  const fileHash = await writer.end(rest);
  return { ...found, fileHash, fileSize: writer.fileSize };
}

/** A NAR below {@link SMALL_NAR_BYTES} whose file, by zstd, is one part. */
export type WholeJob = Pick<
  PackJob,
  "physicalPath" | "narSize" | "level" | "md5" | "recorded" | "listing"
>;

/** Packs such a path in one go, as {@link pack} does and with the same proof. */
export function packWhole(job: WholeJob): { result: PackResult; part: PackedPart } {
  using nar = new HashedNar(job);
  const bytes = packSmall(nar, job);
  const found = nar.end();
  const fileHash = hash("sha256", bytes);
  const md5 = job.md5 === true ? hash("md5", bytes, "base64") : "";
  return {
    result: { ...found, fileHash, fileSize: bytes.length },
    part: {
      number: 1,
      offset: 0,
      bytes,
      md5,
      narBytes: found.narSize,
      hashSoFar: fileHash,
      isLast: true,
    },
  };
}

/** Where parts go, and who is told of programs that run. */
export interface PackSink extends PartSink, Pick<CompressorOptions, "onProgram"> {}

interface StreamOptions extends Pick<CompressorOptions, "onProgram"> {
  readonly job: PackJob;
  readonly nar: HashedNar;
}

/** How long this thread is busy in one go: about a millisecond. */
const STEP_BYTES = 1 << 20;

/** A chunk that is being compressed. */
interface Running {
  readonly output: Promise<readonly Uint8Array[]>;
  readonly narBytes: number;
}

/** Returns the whole file. */
function packSmall(nar: HashedNar, { narSize, level }: WholeJob): Buffer<ArrayBuffer> {
  return zstdOnce(nar.read(scratch(0, narSize + 1)), level);
}

/** Writes the file but for its end, which is returned and never empty. */
async function packStream(
  { job, nar, onProgram }: StreamOptions,
  writer: PartWriter,
): Promise<Packed> {
  const compressor = createCompressor({ ...job, onProgram });
  const running: Running[] = [];
  const finishFirst = async (): Promise<Packed> => {
    const first = running.shift();
    return { pieces: (await first?.output) ?? [], narBytes: first?.narBytes ?? 0 };
  };
  const writeFirst = async (): Promise<void> => {
    const packed = await finishFirst();
    await writer.write(packed);
    compressor.free(packed.pieces);
  };
  try {
    for (let turn = 0; ; turn = (turn + 1) % compressor.lanes) {
      if (running.length === compressor.lanes) await writeFirst();
      const chunk = await readChunk(nar, scratch(turn, compressor.chunkBytes));
      if (chunk.length === 0) break;
      const output = compressor.compress(chunk);
      output.catch(() => undefined); // awaited in its turn; the work until then is why not at once
      running.push({ output, narBytes: chunk.length });
    }
    while (running.length > 1) await writeFirst();
    const { pieces, narBytes } = await finishFirst();
    return { pieces: [...pieces, ...(await compressor.end())], narBytes };
  } finally {
    compressor.destroy();
  }
}

/** Reads in steps: between them the compressor is heard, which may wait for its next chunk. */
async function readChunk(nar: HashedNar, into: Uint8Array): Promise<Uint8Array> {
  for (let filled = 0; filled < into.length; filled += STEP_BYTES) {
    const got = nar.read(into.subarray(filled, filled + STEP_BYTES)).length;
    if (got < STEP_BYTES) return into.subarray(0, filled + got);
    await setImmediate();
  }
  return into;
}

const chunks: Uint8Array[] = [];

/** Memory of a thread, made when first needed and used again for every job. */
function scratch(turn: number, sizeBytes: number): Uint8Array {
  let memory = chunks[turn];
  if (memory === undefined || memory.length < sizeBytes) {
    memory = new Uint8Array(Math.max(sizeBytes, SMALL_NAR_BYTES));
    chunks[turn] = memory;
  }
  return memory.subarray(0, sizeBytes);
}
