import { createHash } from "node:crypto";
import { addAbortListener } from "node:events";
import { type FileHandle, open } from "node:fs/promises";

import { sha256FromDigest } from "../nix/hash.ts";
import { type FileCompression, unpackXz, ZstdUnpacker } from "./check-nar.ts";
import type { CompleteRequest } from "./complete-request.ts";
import { NarMeter } from "./nar-meter.ts";
import { refusal } from "./refusal.ts";
import type { PartRecord } from "./upload-table.ts";
import { writeAll } from "./write-all.ts";

/** Read, hashed, written and unpacked while it is in the cache of the processor. */
const CHUNK_BYTES = 256 * 1024;

/** Hashes and size that a client claims, which the file has to prove. */
export type FileClaim = Pick<CompleteRequest, "fileHash" | "narHash" | "narSize">;

/** The file of an upload: its parts are joined, hashed and unpacked at once, each read once. */
export class Assembly implements AsyncDisposable {
  readonly file: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash("sha256");
  readonly #meter = new NarMeter(0);
  /** Undefined for xz, whose program reads the whole file in the end. */
  readonly #unpacker: ZstdUnpacker | undefined;
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  readonly #taken: PartRecord[] = [];
  #sizeBytes = 0;

  private constructor(file: string, handle: FileHandle, compression: FileCompression) {
    this.file = file;
    this.#handle = handle;
    this.#unpacker = compression === "zst" ? new ZstdUnpacker(this.#meter) : undefined;
  }

  /** Begins a new file. */
  static async create(file: string, compression: FileCompression): Promise<Assembly> {
    return new Assembly(file, await open(file, "wx+", 0o600), compression);
  }

  /** The parts in it, in their order. */
  get taken(): readonly PartRecord[] {
    return this.#taken;
  }

  /** Bytes of the parts in it. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Adds a part behind the others.
   *
   * @param limit How many bytes the NAR may have so far.
   * @throws {HTTPException} 400 if this is no zstd, or the NAR is longer.
   * @throws {FormatError} If the NAR is not well-formed.
   */
  async add(part: PartRecord, file: string, limit: number): Promise<void> {
    this.#meter.limit = limit;
    await using source = await open(file, "r");
    for (;;) {
      const { bytesRead } = await source.read(this.#buffer, 0, CHUNK_BYTES, null);
      if (bytesRead === 0) break;
      const chunk = this.#buffer.subarray(0, bytesRead);
      this.#hash.update(chunk);
      await Promise.all([writeAll(this.#handle, [chunk]), this.#unpacker?.write(chunk)]);
    }
    this.#taken.push(part);
    this.#sizeBytes += part.sizeBytes;
  }

  /**
   * Proves that the file is one compressed stream of one well-formed NAR, both as claimed. It is on
   * disk when this returns.
   *
   * @throws {HTTPException} 400 if it is not.
   * @throws {FormatError} If the NAR is not well-formed.
   */
  async finish(claim: FileClaim, signal: AbortSignal): Promise<void> {
    assertFileHash(this.#hash.digest(), claim);
    this.#meter.limit = claim.narSize;
    if (this.#unpacker === undefined) await unpackXz(this.file, this.#meter, signal);
    else await this.#unpacker.end();
    this.#meter.assertClaim(claim);
    await this.#handle.sync();
  }

  /** Lets everything that goes on fail once `signal` is aborted. */
  stopOn(signal: AbortSignal): Disposable {
    return addAbortListener(signal, () => this.stop(signal.reason));
  }

  stop(reason: unknown): void {
    this.#unpacker?.stop(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop(new Error("The file is closed"));
    await this.#handle.close();
  }
}

/** @throws {HTTPException} 400 if the file is not the claimed one. */
export function assertFileHash(digest: Buffer, { fileHash }: Pick<FileClaim, "fileHash">): void {
  const found = sha256FromDigest(digest);
  if (found === fileHash) return;
  throw refusal(400, `The file has the hash ${found} where cFileHash says ${fileHash}`);
}
