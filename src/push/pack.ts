import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";

import { HandpickError } from "../error.ts";
import { sha256FromHex } from "../nix/hash.ts";
import { NarListing } from "../nix/nar-listing.ts";
import { nameOf } from "../nix/store-path.ts";
import { createCompressor, zstdOnce } from "./compressor.ts";
import type { CompressorOptions } from "./compressor.ts";
import { NarSource } from "./nar-source.ts";
import type { PackJob, PackResult, Recorded } from "./pack-protocol.ts";
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
  const visitor = job.listing === true ? new NarListing() : undefined;
  using source = new NarSource(job.physicalPath, { visitor });
  const hash = createHash("sha256");
  let narSize = 0;
  // One byte more than recorded, so that a longer NAR shows as a size that does not match.
  const mostBytes = job.narSize > 0 ? job.narSize + 1 : Infinity;
  const read = (into: Uint8Array): Uint8Array => {
    const wanted = into.subarray(0, mostBytes - narSize);
    const chunk = wanted.subarray(0, source.read(wanted));
    hash.update(chunk);
    narSize += chunk.length;
    return chunk;
  };
  const writer = new PartWriter(sink, job);
  const isSmall = job.compression === "zstd" && job.narSize > 0 && job.narSize < SMALL_NAR_BYTES;
  const rest = isSmall
    ? packSmall(job, read)
    : await packStream({ job, onProgram: sink.onProgram }, read, writer);
  const narHash = hash.digest("hex");
  if (job.recorded !== undefined) assertAsRecorded(job.recorded, { narHash, narSize });
  const fileHash = await writer.end(rest);
  const { fileSize } = writer;
  return { narHash, narSize, fileHash, fileSize, listing: visitor?.listing };
}

function assertAsRecorded(
  recorded: Recorded,
  found: Pick<PackResult, "narHash" | "narSize">,
): void {
  const narHash = sha256FromHex(found.narHash);
  const isSize = recorded.narSize === 0 || recorded.narSize === found.narSize;
  if (narHash === recorded.narHash && isSize) return;
  throw new HandpickError(
    "STORE_PATH_CORRUPT",
    `Cannot push ${nameOf(recorded.path)}: its files are not what the store recorded\n` +
      `  recorded ${recorded.narHash}, ${recorded.narSize} bytes\n` +
      `  found    ${narHash}, ${found.narSize} bytes`,
    { hint: `Run nix-store --repair-path ${recorded.path}, or build it again.` },
  );
}

/** Where parts go, and who is told of programs that run. */
export interface PackSink extends PartSink, Pick<CompressorOptions, "onProgram"> {}

interface StreamOptions extends Pick<CompressorOptions, "onProgram"> {
  readonly job: PackJob;
}

/** How long this thread is busy in one go: about a millisecond. */
const STEP_BYTES = 1 << 20;

/** A chunk that is being compressed. */
interface Running {
  readonly output: Promise<readonly Uint8Array[]>;
  readonly narBytes: number;
}

type Read = (into: Uint8Array) => Uint8Array;

/** Returns the whole file. */
function packSmall(job: PackJob, read: Read): Packed {
  const chunk = read(scratch(0, job.narSize + 1));
  return { pieces: [zstdOnce(chunk, job.level)], narBytes: chunk.length };
}

/** Writes the file but for its end, which is returned and never empty. */
async function packStream(
  { job, onProgram }: StreamOptions,
  read: Read,
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
      const chunk = await readChunk(read, scratch(turn, compressor.chunkBytes));
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
async function readChunk(read: Read, into: Uint8Array): Promise<Uint8Array> {
  for (let filled = 0; filled < into.length; filled += STEP_BYTES) {
    const got = read(into.subarray(filled, filled + STEP_BYTES)).length;
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
