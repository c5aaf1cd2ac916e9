import { spawn } from "node:child_process";
import { once } from "node:events";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createZstdDecompress } from "node:zlib";

import { systemCode } from "../files/system-code.ts";
import { sha256FromDigest, type Sha256 } from "../nix/hash.ts";
import { NarReader } from "../nix/nar-reader.ts";
import { refusal } from "./refusal.ts";
import { oneZstdFrame } from "./zstd-frame.ts";

/** The two methods clients may use, spelled as in file names and the API's queries. */
export type FileCompression = "zst" | "xz";

/** A compressed NAR and what it is said to hold. */
export interface ClaimedNar {
  readonly file: string;
  readonly compression: FileCompression;
  readonly narHash: Sha256;
  readonly narSize: number;
}

/** xz refuses files that need more; its highest preset needs 65 MiB. */
const XZ_MEMORY = "256MiB";

/** Four times as fast as with the default of 16 KiB: every chunk costs a trip to another thread. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Proves that a file is one compressed stream of one well-formed NAR of the claimed hash and size.
 * Nothing longer than the claimed size is ever unpacked, and nothing is kept.
 *
 * @throws {HTTPException} 400 if it is not.
 * @throws {FormatError} If the NAR is not well-formed.
 */
export async function checkNar(nar: ClaimedNar, signal: AbortSignal): Promise<void> {
  const meter = new NarMeter(nar.narSize);
  if (nar.compression === "zst") await unpackZstd(nar.file, meter, signal);
  else await unpackXz(nar.file, meter, signal);
  const narHash = meter.end();
  if (meter.size !== nar.narSize) {
    throw refusal(400, `The NAR has ${meter.size} bytes where cNarSize says ${nar.narSize}`);
  }
  if (narHash !== nar.narHash) {
    throw refusal(400, `The NAR has the hash ${narHash} where cNarHash says ${nar.narHash}`);
  }
}

class NarMeter {
  readonly #hash = createHash("sha256");
  readonly #reader = new NarReader();
  readonly #limit: number;
  size = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  readonly write = async (source: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const chunk of source) {
      this.size += chunk.length;
      if (this.size > this.#limit) {
        throw refusal(400, `The NAR is longer than cNarSize says, ${this.#limit} bytes`);
      }
      this.#hash.update(chunk);
      this.#reader.write(chunk);
    }
  };

  end(): Sha256 {
    this.#reader.end();
    return sha256FromDigest(this.#hash.digest());
  }
}

async function unpackZstd(file: string, meter: NarMeter, signal: AbortSignal): Promise<void> {
  try {
    await pipeline(
      createReadStream(file, { highWaterMark: CHUNK_BYTES }),
      oneZstdFrame,
      createZstdDecompress({ chunkSize: CHUNK_BYTES }),
      meter.write,
      { signal },
    );
  } catch (error) {
    const code = systemCode(error) ?? "";
    if (!code.startsWith("ZSTD_") && !code.startsWith("Z_")) throw error;
    throw refusal(400, "The file cannot be unpacked as zstd");
  }
}

async function unpackXz(file: string, meter: NarMeter, signal: AbortSignal): Promise<void> {
  const options = ["--decompress", "--stdout", "--format=xz", `--memlimit=${XZ_MEMORY}`];
  const env = { PATH: process.env["PATH"] };
  const xz = spawn("xz", [...options, file], { env, stdio: ["ignore", "pipe", "ignore"], signal });
  const written = meter.write(xz.stdout).catch((error: unknown) => {
    xz.kill("SIGKILL");
    throw error;
  });
  // The second rejects where xz cannot be started or was killed through `signal`.
  const [write, close] = await Promise.allSettled([written, once(xz, "close")]);
  if (close.status === "rejected") throw close.reason;
  if (write.status === "rejected") throw write.reason;
  if (close.value[0] !== 0) throw refusal(400, "The file cannot be unpacked as xz");
}
