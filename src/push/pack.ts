import { createHash } from "node:crypto";

import { createCompressor, zstdOnce } from "./compressor.ts";
import type { CompressorOptions } from "./compressor.ts";
import { NarSource } from "./nar-source.ts";
import type { PackJob, PackResult } from "./pack-protocol.ts";
import { PartWriter } from "./part-writer.ts";
import type { PartSink } from "./part-writer.ts";

/** How much of the NAR is read, hashed and compressed in one go. */
export const CHUNK_BYTES: number = 4 << 20;

/**
 * Reads a store path as a NAR, hashes it, compresses it, hashes that too and cuts it into parts.
 *
 *     this thread       read + SHA-256 chunk n+1, SHA-256 + MD5 + parts of chunk n-1 -> sink
 *     compressor        compress chunk n
 *
 * A NAR that fits into one chunk is compressed in this thread; the pool runs several such jobs.
 */
export async function pack(job: PackJob, sink: PackSink): Promise<PackResult> {
  using source = new NarSource(job.physicalPath);
  const hash = createHash("sha256");
  let narSize = 0;
  const read = (into: Uint8Array): Uint8Array => {
    const chunk = into.subarray(0, source.read(into));
    hash.update(chunk);
    narSize += chunk.length;
    return chunk;
  };
  const writer = new PartWriter(sink, job.partSize);
  if (job.compression === "zstd" && job.narSize > 0 && job.narSize < CHUNK_BYTES) {
    packSmall(job, read, writer);
  } else {
    await packStream({ job, onProgram: sink.onProgram }, read, writer);
  }
  const fileHash = await writer.end();
  return { narHash: hash.digest("hex"), narSize, fileHash, fileSize: writer.fileSize };
}

/** Where parts go, and who is told of programs that run. */
export interface PackSink extends PartSink, Pick<CompressorOptions, "onProgram"> {}

interface StreamOptions extends Pick<CompressorOptions, "onProgram"> {
  readonly job: PackJob;
}

type Read = (into: Uint8Array) => Uint8Array;

function packSmall(job: PackJob, read: Read, writer: PartWriter): void {
  // One byte more than recorded, so that a longer NAR shows as a size that does not match.
  const chunk = read(scratch(0).subarray(0, job.narSize + 1));
  writer.narBytes = chunk.length;
  writer.push(zstdOnce(chunk, job.level));
}

async function packStream(
  { job, onProgram }: StreamOptions,
  read: Read,
  writer: PartWriter,
): Promise<void> {
  const output = (bytes: Uint8Array): void => writer.push(bytes);
  const compressor = createCompressor({ ...job, output, onProgram });
  try {
    let turn = 0;
    let chunk = read(scratch(turn));
    while (chunk.length > 0) {
      // Not what was read: the chunk read ahead is in no part yet.
      writer.narBytes += chunk.length;
      const written = compressor.write(chunk);
      written.catch(() => undefined); // awaited below; the work between is why it is not at once
      turn = 1 - turn;
      chunk = read(scratch(turn));
      await writer.drain();
      await written;
    }
    await compressor.end();
  } finally {
    compressor.destroy();
  }
}

const chunks: (Uint8Array | undefined)[] = [];

/** Two chunks a thread, made when first needed and used again for every job. */
function scratch(turn: number): Uint8Array {
  return (chunks[turn] ??= new Uint8Array(CHUNK_BYTES));
}
