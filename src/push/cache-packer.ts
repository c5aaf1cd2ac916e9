import type { Compression, PartTraits } from "../cache/contract.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { Budget } from "../budget.ts";
import { isTiny, PackPool, type PackRequest } from "./pack-pool.ts";
import { SMALL_NAR_BYTES } from "./pack.ts";
import type { PackResult } from "./pack-protocol.ts";
import { type OnPart, PartSends } from "./part-sends.ts";
import type { Member, SharedPacker } from "./shared-packer.ts";
import { type PackKey, packKey, type PackWay, type SpooledNar } from "./spooled-nar.ts";

/** The paths that a cache is going to ask for. */
export interface PackOrder {
  readonly physicalPaths: Iterable<string>;
  readonly compression: Compression;
  readonly level: number | undefined;
  readonly parts: PartTraits;
}

export interface CachePackerOptions {
  /** @default {false} */
  readonly listings?: boolean;
}

/** A path whose size is not known. */
export interface MeasureRequest {
  readonly info: Pick<PathInfo, "path" | "narHash">;
  readonly physicalPath: string;
}

/** Memory for reading a NAR that is only measured. */
const MEASURED_BYTES = 4 << 20;
/** Until a cache has said what it awaits, all paths are kept for it, for so long. */
const HEAD_START_MS = 2_000;
/** Large paths that a cache has packed before it has read them: NARs in bytes, or one that is larger. */
const AHEAD_BYTES = 256 << 20;

/**
 * Packs for one of the caches that share a packer:
 *
 *     alone           pool --> cache          the pool waits for the cache
 *     with others     pool --> spool --> cache, at its own pace
 *     too far behind  pool of its own --> cache
 *
 * A tiny path is packed for each, which is faster than the way through the spool.
 */
export class CachePacker implements Member, AsyncDisposable {
  readonly memory: Budget = new Budget(0);
  readonly listings: boolean;
  readonly #shared: SharedPacker;
  readonly #ahead = new Budget(AHEAD_BYTES);
  readonly #startMs = performance.now();
  #streaming = 0;
  #parts: PartTraits | undefined;
  #awaited: Set<PackKey> | undefined;
  #own: PackPool | undefined;

  constructor(shared: SharedPacker, { listings = false }: CachePackerOptions = {}) {
    this.#shared = shared;
    this.listings = listings;
    shared.add(this);
  }

  get isStreaming(): boolean {
    return this.#streaming > 0;
  }

  get parts(): PartTraits | undefined {
    return this.#parts;
  }

  /** The number of caches that share the packer, this one included. */
  get shares(): number {
    return this.#shared.size;
  }

  isAwaiting(key: PackKey): boolean {
    if (this.#awaited !== undefined) return this.#awaited.has(key);
    return performance.now() - this.#startMs < HEAD_START_MS;
  }

  /** Says what will be asked for; others that pack the same keep it for this cache. */
  expect({ physicalPaths, parts, ...way }: PackOrder): void {
    this.#parts = parts;
    const keys = [...physicalPaths].map((physicalPath) => packKey({ ...way, physicalPath }));
    this.#awaited = new Set(keys);
    this.#shared.review(this);
  }

  /** Says that a path will not be asked for, or not again. */
  forget(way: PackWay): void {
    const key = packKey(way);
    this.#awaited?.delete(key);
    this.#shared.letGo(this, key);
  }

  /**
   * Finds the size of a NAR, in bytes, where the store did not record it.
   *
   * @throws {HandpickError} `STORE_PATH_CORRUPT` if it has another hash than was recorded.
   */
  async measure({ info, physicalPath }: MeasureRequest, signal: AbortSignal): Promise<number> {
    const { path, narHash } = info;
    const request = {
      physicalPath,
      narSize: 0,
      recorded: { path, narHash, narSize: 0 },
      compression: "none",
      level: undefined,
      partSize: MEASURED_BYTES,
      onPart: async () => undefined,
    } as const;
    return (await this.#shared.pool.pack(request, signal)).narSize;
  }

  /**
   * Packs as {@link PackPool.pack} does; where caches share the parts, these have a size that all of them take.
   *
   * @throws {HandpickError} What reading or compressing threw.
   * @throws The reason `signal` was aborted with.
   */
  async pack(plain: PackRequest, signal: AbortSignal): Promise<PackResult> {
    const request = { ...plain, listing: this.listings };
    const { pool } = this.#shared;
    if (isTiny(request)) return await pool.pack({ ...request, memory: this.memory }, signal);
    const found = this.#shared.find(this, request);
    if (found !== undefined) return await this.#read(found, request, signal);
    if (this.#shared.size === 1) return await this.#stream(request, signal);
    if (this.#shared.isHeldUp(this)) return await this.#alone(request, signal);
    const isLarge = request.narSize >= SMALL_NAR_BYTES;
    // Small ones overtake: many are on their way at once, and none takes much room.
    const giveBack = isLarge ? await this.#ahead.take(request.narSize, signal) : undefined;
    try {
      const nar = this.#shared.find(this, request) ?? this.#shared.start(this, request);
      if (nar === undefined) return await this.#alone(request, signal);
      return await this.#read(nar, request, signal);
    } finally {
      giveBack?.();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shared.remove(this);
    await this.#own?.[Symbol.asyncDispose]();
  }

  async #stream(request: PackRequest, signal: AbortSignal): Promise<PackResult> {
    this.#streaming += 1;
    try {
      return await this.#shared.pool.pack({ ...request, memory: this.memory }, signal);
    } finally {
      this.#streaming -= 1;
    }
  }

  /** Packs in a thread that nobody else waits for. */
  async #alone(request: PackRequest, signal: AbortSignal): Promise<PackResult> {
    const { spare, pool } = this.#shared;
    this.#own ??= new PackPool({ threads: 1, spare });
    return await this.#own.pack({ ...request, memory: this.memory, threads: pool.threads }, signal);
  }

  async #read(
    nar: SpooledNar<Member>,
    request: PackRequest,
    signal: AbortSignal,
  ): Promise<PackResult> {
    const sends = new PartSends(request.onPart, signal);
    const leave = (): void => this.#shared.leave(nar, this);
    sends.signal.addEventListener("abort", leave, { once: true });
    try {
      return await sends.settle(async () => {
        const result = await this.#readParts(nar, sends);
        if (result !== undefined) return result;
        sends.signal.throwIfAborted();
        return await this.#packRest(nar, request, sends);
      });
    } finally {
      sends.signal.removeEventListener("abort", leave);
      leave();
    }
  }

  /** Sends the parts that it gets; returns undefined if it has lost the path. */
  async #readParts(nar: SpooledNar<Member>, sends: PartSends): Promise<PackResult | undefined> {
    const { spare, spool } = this.#shared;
    for (;;) {
      const next = await nar.next(this);
      if (next === undefined || !("extent" in next)) return next;
      const { extent, sizeBytes, ...part } = next;
      const release = await this.memory.take(sizeBytes, sends.signal);
      const memory = spare.take(sizeBytes);
      const onSettled = (): void => {
        spare.give(memory);
        release();
      };
      const bytes = new Uint8Array(memory);
      // Where the path was lost meanwhile, its place may hold something else by now.
      if ((await spool.read(extent, bytes)) && nar.take(this)) {
        sends.send({ ...part, bytes }, onSettled);
      } else {
        onSettled();
        return undefined;
      }
    }
  }

  /** Packs again, and sends what was not sent: packing makes the same of the same. */
  async #packRest(
    nar: SpooledNar<Member>,
    request: PackRequest,
    sends: PartSends,
  ): Promise<PackResult> {
    const { partSize } = nar.request;
    const { sent } = sends;
    const onPart: OnPart = async (part, signal) => {
      if (part.number > (sent?.number ?? 0)) return await request.onPart(part, signal);
      if (part.number === sent?.number && part.hashSoFar !== sent.hashSoFar) {
        throw new Error(`Packing ${request.physicalPath} again gave another file`);
      }
    };
    return await this.#alone({ ...request, partSize, onPart }, sends.signal);
  }
}
