import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import zlib from "node:zlib";

import type { Compression } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { insideGate } from "./thread-gate.ts";

/** Compresses one NAR, chunk by chunk. */
export interface Compressor {
  /** How many chunks it takes at once. */
  readonly lanes: number;
  /**
   * Settles once `chunk` is consumed and its memory may be used again, with the output that came
   * meanwhile: good until as many more calls as there are lanes. Outputs follow each other in the
   * order of the calls.
   */
  compress(chunk: Uint8Array): Promise<readonly Uint8Array[]>;
  /** Settles with the output that was left, once everything before has settled. */
  end(): Promise<readonly Uint8Array[]>;
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

const OUTPUT_CHUNK_BYTES = 1 << 20;
/** Chunks beyond one a thread, so that no thread waits for ours to read, hash and hand over. */
const WAITING_CHUNKS = 2;

/** Makes a streaming compressor. */
export function createCompressor(options: CompressorOptions): Compressor {
  switch (options.compression) {
    case "zstd":
      return zstdCompressor(options);
    case "xz":
      return xzCompressor(options);
    case "none":
      return {
        lanes: 1,
        compress: async (chunk) => [chunk],
        end: async () => [],
        destroy: () => undefined,
      };
  }
}

/** Compresses a whole buffer to one zstd frame in the calling thread. */
export function zstdOnce(bytes: Uint8Array, level: number = DEFAULT_LEVEL.zstd): Buffer {
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: level };
  return insideGate(() => zlib.zstdCompressSync(bytes, { params }));
}

/**
 * A zstd frame for every chunk, several at a time. Readers must take frames that follow each other
 * (RFC 8878, 3.1), Nix writes NARs in this way since NixOS/nix#15550, and they can be decompressed
 * in parallel. Against one frame for all, chunks of 4 MiB cost 0.4 % in size.
 *
 * zstd's own threads (`nbWorkers`) are not used: node:zlib loses data with them unless every write
 * is flushed, and at every flush the threads wait for each other and for ours.
 */
function zstdCompressor({ level, threads }: CompressorOptions): Compressor {
  const lanes = Array.from({ length: threads + WAITING_CHUNKS }, () => new ZstdLane(level));
  let next = 0;
  return {
    lanes: lanes.length,
    compress: async (chunk) => {
      const lane = lanes[next];
      next = (next + 1) % lanes.length;
      return lane === undefined ? [] : lane.frame(chunk);
    },
    end: async () => [],
    destroy: () => {
      for (const lane of lanes) lane.destroy();
    },
  };
}

/** Makes one frame after the other, in libuv's threads. */
class ZstdLane {
  readonly #stream: zlib.ZstdCompress;
  #output: Uint8Array<ArrayBuffer>[] = [];
  #lastOutput: readonly Uint8Array<ArrayBuffer>[] = [];

  constructor(level: number = DEFAULT_LEVEL.zstd) {
    const { ZSTD_e_end, ZSTD_c_compressionLevel } = zlib.constants;
    const params = { [ZSTD_c_compressionLevel]: level };
    this.#stream = insideGate(() =>
      zlib.createZstdCompress({ flush: ZSTD_e_end, chunkSize: OUTPUT_CHUNK_BYTES, params }),
    );
    this.#stream.on("data", (bytes: Uint8Array<ArrayBuffer>) => this.#output.push(bytes));
    this.#stream.on("error", () => undefined); // told by the write that was running
  }

  frame(chunk: Uint8Array): Promise<readonly Uint8Array[]> {
    this.#freeLastOutput();
    return new Promise((resolve, reject) => {
      this.#stream.write(chunk, (error) => {
        if (error) return reject(failed("zstd", error));
        // What the stream still buffers comes out as data, before the next frame begins.
        while (this.#stream.read() !== null) continue;
        resolve(this.#output);
        this.#lastOutput = this.#output;
        this.#output = [];
      });
    });
  }

  /**
   * Garbage collection comes late for buffers outside its heap: without this a large path takes
   * 60 MB more. A piece that ends where its memory ends is the last that lies in it.
   */
  #freeLastOutput(): void {
    for (const { buffer, byteOffset, byteLength } of this.#lastOutput) {
      if (byteOffset + byteLength === buffer.byteLength) buffer.transfer(0);
    }
    this.#lastOutput = [];
  }

  destroy(): void {
    this.#stream.destroy();
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
  let output: Uint8Array[] = [];
  const take = (): Uint8Array[] => {
    const taken = output;
    output = [];
    return taken;
  };
  child.stdout.on("data", (bytes: Uint8Array) => output.push(bytes));
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
    compress: async (chunk) => {
      const written = new Promise<void>((resolve) => child.stdin.write(chunk, () => resolve()));
      await Promise.race([written, finished]);
      return take();
    },
    end: async () => {
      child.stdin.end();
      await finished;
      return take();
    },
    destroy: () => child.kill("SIGKILL"),
  };
}

function failed(program: string, cause: unknown): HandpickError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new HandpickError("COMPRESSOR_FAILED", `Cannot compress with ${program}: ${message}`, {
    cause,
    hint: program === "xz" ? 'Install xz, or choose compression = "zstd".' : undefined,
  });
}
