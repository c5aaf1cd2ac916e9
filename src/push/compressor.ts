import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import type * as Zlib from "node:zlib";

import type { Compression } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { insideGate } from "./thread-gate.ts";

/** Compresses one NAR, chunk by chunk. */
export interface Compressor {
  /** How many chunks it takes at once; at least two where `end` may give nothing. */
  readonly lanes: number;
  /** How large they should be. */
  readonly chunkBytes: number;
  /**
   * Settles once `chunk` is consumed and its memory may be used again, with the output that came
   * meanwhile. Outputs follow each other in the order of the calls.
   */
  compress(chunk: Uint8Array): Promise<readonly Uint8Array[]>;
  /** Settles with the output that was left, once everything before has settled. */
  end(): Promise<readonly Uint8Array[]>;
  /** Takes back the memory of output that was used. */
  free(output: readonly Uint8Array[]): void;
  /** Gives up and frees what the compressor holds. */
  destroy(): void;
}

export interface CompressorOptions {
  readonly compression: Compression;
  /** @default {3 for zstd, 6 for xz} */
  readonly level: number | undefined;
  /** Threads to use for one NAR. */
  readonly threads: number;
  /** Told of a program that was started, by its pid, and when it ended. */
  readonly onProgram: (pid: number | undefined) => void;
}

/** The level used where nobody says otherwise. */
export const DEFAULT_LEVEL: Readonly<Record<Compression, number>> = { zstd: 3, xz: 6, none: 0 };

const OUTPUT_CHUNK_BYTES = 4 << 20;
const ZSTD_JOB_BYTES = 2 << 20;
const PLAIN_CHUNK_BYTES = 4 << 20;
const ONCE_CHUNK_BYTES = 64 << 10;

/** Makes a streaming compressor. */
export function createCompressor(options: CompressorOptions): Compressor {
  switch (options.compression) {
    case "zstd":
      return zstdCompressor(options);
    case "xz":
      return xzCompressor(options);
    case "none":
      return {
        // Two, so that the last chunk is still here when the end of the NAR is found.
        lanes: 2,
        chunkBytes: PLAIN_CHUNK_BYTES,
        compress: async (chunk) => [chunk],
        end: async () => [],
        free: () => undefined,
        destroy: () => undefined,
      };
  }
}

/** Loads zlib when it is first needed: the main thread of most runs compresses nothing. */
function loadZlib(): typeof Zlib {
  return process.getBuiltinModule("node:zlib");
}

/** Compresses a whole buffer to one zstd frame in the calling thread. */
export function zstdOnce(
  bytes: Uint8Array,
  level: number = DEFAULT_LEVEL.zstd,
): Buffer<ArrayBuffer> {
  const zlib = loadZlib();
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: level };
  // By itself node:zlib takes 16 KiB at a time, which a file of a few hundred bytes would keep.
  const chunkSize = Math.min(zstdBound(bytes.length), ONCE_CHUNK_BYTES);
  return insideGate(() => zlib.zstdCompressSync(bytes, { params, chunkSize }));
}

/** The most that `sizeBytes` become, by `ZSTD_COMPRESSBOUND`, and no less than node:zlib takes. */
function zstdBound(sizeBytes: number): number {
  return sizeBytes + (sizeBytes >> 8) + 128;
}

/**
 * One zstd frame on several threads.
 *
 * With `nbWorkers`, `ZSTD_e_continue` may return with input left and room in the output, which
 * node:zlib takes for the end of the stream: it drops the rest and fails with "stream.push() after
 * EOF". `ZSTD_e_flush` always makes all progress there is. So every write is flushed, and since
 * zstd's threads wait for each other at a flush, there is one more of them than asked for, and a
 * write brings one job for each: they end at about the same time.
 * The second lane waits in the stream's own queue: it starts with no help of our thread. A frame for
 * each chunk would need no flush, but Cachix expects one frame.
 */
function zstdCompressor({ level, threads }: CompressorOptions): Compressor {
  const zlib = loadZlib();
  const { ZSTD_e_flush, ZSTD_c_compressionLevel, ZSTD_c_nbWorkers, ZSTD_c_jobSize } =
    zlib.constants;
  const workers = threads > 1 ? threads + 1 : 0;
  const parallel =
    workers > 0 ? { [ZSTD_c_nbWorkers]: workers, [ZSTD_c_jobSize]: ZSTD_JOB_BYTES } : {};
  const params = { [ZSTD_c_compressionLevel]: level ?? DEFAULT_LEVEL.zstd, ...parallel };
  const stream = insideGate(() =>
    zlib.createZstdCompress({ flush: ZSTD_e_flush, chunkSize: OUTPUT_CHUNK_BYTES, params }),
  );
  const output = collect(stream);
  const ended = once(stream, "end");
  ended.catch(() => undefined); // told by compress() or end(), whichever is running
  return {
    lanes: 2,
    chunkBytes: workers > 0 ? workers * ZSTD_JOB_BYTES : PLAIN_CHUNK_BYTES,
    compress: (chunk) =>
      new Promise((resolve, reject) => {
        stream.write(chunk, (error) => (error ? reject(failed("zstd", error)) : resolve(output())));
      }),
    end: async () => {
      stream.end();
      await ended.catch((error: unknown) => {
        throw failed("zstd", error);
      });
      return output();
    },
    free: freeFullBuffers,
    destroy: () => stream.destroy(),
  };
}

/** Returns a function that takes what came since the last time. */
function collect(stream: Readable): () => readonly Uint8Array[] {
  let output: Uint8Array[] = [];
  stream.on("data", (bytes: Uint8Array) => output.push(bytes));
  return () => {
    const taken = output;
    output = [];
    return taken;
  };
}

/**
 * The garbage collector comes late for buffers outside its heap: with it alone a large path takes
 * 60 MB more. A piece that ends where its memory ends is the last that lies in it.
 */
function freeFullBuffers(pieces: readonly Uint8Array[]): void {
  for (const { buffer, byteOffset, byteLength } of pieces) {
    const isFull = byteOffset + byteLength === buffer.byteLength;
    if (isFull && buffer instanceof ArrayBuffer) buffer.transfer(0);
  }
}

function xzCompressor({ level, threads, onProgram }: CompressorOptions): Compressor {
  const words = ["--compress", "--stdout", `-${level ?? DEFAULT_LEVEL.xz}`, `--threads=${threads}`];
  // Started and told in one: a thread that is ended between the two would leave it running.
  const child: ChildProcessWithoutNullStreams = insideGate(() => {
    // It needs no tokens, and variables such as XZ_OPT would change what it does.
    const env = { PATH: process.env["PATH"] };
    const started = spawn("xz", words, { env, stdio: ["pipe", "pipe", "pipe"] });
    onProgram(started.pid);
    return started;
  });
  let complaint = "";
  child.stderr.on("data", (text: Buffer) => {
    complaint = `${complaint}${text.toString()}`.slice(0, 500);
  });
  const output = collect(child.stdout);
  child.stdin.on("error", () => undefined); // the exit below tells why the pipe broke
  const finished = new Promise<void>((resolve, reject) => {
    child.on("error", (error) => reject(failed("xz", error)));
    child.on("close", (status, signal) => {
      onProgram(undefined);
      if (status === 0) resolve();
      else reject(failed("xz", new Error(`${signal ?? `status ${status}`}: ${complaint.trim()}`)));
    });
  });
  finished.catch(() => undefined);
  return {
    lanes: 2,
    chunkBytes: PLAIN_CHUNK_BYTES,
    compress: async (chunk) => {
      const written = new Promise<void>((resolve) => child.stdin.write(chunk, () => resolve()));
      await Promise.race([written, finished]);
      return output();
    },
    end: async () => {
      child.stdin.end();
      await finished;
      return output();
    },
    free: () => undefined,
    destroy: () => child.kill("SIGKILL"),
  };
}

function causeText(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function failed(program: string, cause: unknown): HandpickError {
  const isAbsent = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
  const message = isAbsent ? `${program} is not on PATH` : causeText(cause);
  return new HandpickError("COMPRESSOR_FAILED", `Cannot compress with ${program}: ${message}`, {
    cause,
    hint: program === "xz" ? 'Install xz, or choose compression = "zstd".' : undefined,
  });
}
