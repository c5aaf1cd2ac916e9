import { spawn } from "node:child_process";
import { once } from "node:events";
import { finished } from "node:stream/promises";
import { createZstdDecompress, zstdDecompressSync } from "node:zlib";

import { systemCode } from "../files/system-code.ts";
import { UNPACK_XZ } from "../xz.ts";
import { NarMeter, type NarClaim } from "./nar-meter.ts";
import { refusal } from "./refusal.ts";
import { ZstdFrameWalk } from "./zstd-frame.ts";

/** The two methods clients may use, spelled as in file names and the API's queries. */
export type FileCompression = "zst" | "xz";

/** Every chunk costs a trip to another thread, and larger ones are not in the cache of the processor. */
const CHUNK_BYTES = 256 * 1024;
/** The least that zlib takes. */
const LEAST_CHUNK_BYTES = 64;

/**
 * Proves that bytes are one zstd frame of one well-formed NAR of the claimed hash and size, at once
 * and in memory: streams and threads take far longer for a small one.
 *
 * @throws {HTTPException} 400 if they are not.
 * @throws {FormatError} If the NAR is not well-formed.
 */
export function checkZstdNar(bytes: Uint8Array, claim: NarClaim): void {
  const walk = new ZstdFrameWalk();
  walk.write(bytes);
  if (!walk.isEnded) throw notZstd();
  const meter = new NarMeter(claim.narSize);
  meter.write(unpackAtMost(bytes, claim.narSize));
  meter.assertClaim(claim);
}

function unpackAtMost(bytes: Uint8Array, narSize: number): Buffer {
  try {
    const chunkSize = Math.max(LEAST_CHUNK_BYTES, narSize);
    return zstdDecompressSync(bytes, { maxOutputLength: narSize, chunkSize });
  } catch (error) {
    if (systemCode(error) === "ERR_BUFFER_TOO_LARGE") throw NarMeter.tooLong(narSize);
    throw refusalOf(error);
  }
}

/** Unpacks one zstd frame that comes in pieces, into a meter, which may refuse to take more. */
export class ZstdUnpacker {
  readonly #walk = new ZstdFrameWalk();
  readonly #zstd = createZstdDecompress({ chunkSize: CHUNK_BYTES });
  #failure: unknown;
  #release: () => void = () => undefined;

  constructor(meter: NarMeter) {
    // A write that fails is not called back.
    this.#zstd.on("close", () => this.#release());
    this.#zstd.on("error", (error) => (this.#failure ??= refusalOf(error)));
    this.#zstd.on("data", (chunk: Buffer) => {
      try {
        meter.write(chunk);
      } catch (error) {
        this.stop(error);
      }
    });
  }

  /**
   * Settles once the bytes are unpacked, and may be used for something else.
   *
   * @throws {HTTPException} 400 if they are not one frame so far.
   * @throws What the meter throws, and the reason for `stop()`.
   */
  async write(bytes: Uint8Array): Promise<void> {
    this.#walk.write(bytes);
    await new Promise<void>((resolve) => {
      this.#release = resolve;
      this.#zstd.write(bytes, () => resolve());
    });
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Settles once the meter has everything; throws as `write()` does. */
  async end(): Promise<void> {
    if (!this.#walk.isEnded) throw notZstd();
    this.#zstd.end();
    await finished(this.#zstd).catch((error: unknown) => (this.#failure ??= refusalOf(error)));
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Lets `write()` and `end()` fail, and frees the memory. */
  stop(reason: unknown): void {
    this.#failure ??= reason;
    this.#zstd.destroy();
  }
}

/**
 * Unpacks a file of xz into a meter.
 *
 * @throws {HTTPException} 400 if it is not one stream of xz.
 * @throws What the meter throws.
 */
export async function unpackXz(file: string, meter: NarMeter, signal: AbortSignal): Promise<void> {
  const [program, ...options] = UNPACK_XZ;
  const env = { PATH: process.env["PATH"] };
  const xz = spawn(program, [...options, file], {
    env,
    stdio: ["ignore", "pipe", "ignore"],
    signal,
  });
  const write = async (): Promise<void> => {
    for await (const chunk of xz.stdout as AsyncIterable<Buffer>) meter.write(chunk);
  };
  const written = write().catch((error: unknown) => {
    xz.kill("SIGKILL");
    throw error;
  });
  // The second rejects where xz cannot be started or was killed through `signal`.
  const [wrote, close] = await Promise.allSettled([written, once(xz, "close")]);
  if (close.status === "rejected") throw close.reason;
  if (wrote.status === "rejected") throw wrote.reason;
  if (close.value[0] !== 0) throw refusal(400, "The file cannot be unpacked as xz");
}

function refusalOf(error: unknown): unknown {
  const code = systemCode(error) ?? "";
  return code.startsWith("ZSTD_") || code.startsWith("Z_") ? notZstd() : error;
}

function notZstd(): Error {
  return refusal(400, "The file cannot be unpacked as zstd");
}
