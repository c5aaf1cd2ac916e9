import { DEFAULT_LEVEL } from "./compressor.ts";
import type { Extent } from "./extents.ts";
import type { PackRequest } from "./pack-pool.ts";
import type { PackResult } from "./pack-protocol.ts";
import type { PackedPart } from "./part-sends.ts";
import type { SpoolFile } from "./spool-file.ts";

/** A part of a packed path in the spool. */
export interface SpooledPart extends Omit<PackedPart, "bytes"> {
  readonly extent: Extent;
  readonly sizeBytes: number;
}

/** The progress of one reader in a path. */
interface Taken {
  readonly parts: number;
  readonly bytes: number;
}

const NOTHING: Taken = { parts: 0, bytes: 0 };

/** Names one way to pack one path. */
export type PackKey = string & { readonly packKey: never };

/** Settings that make one file of one path. */
export type PackWay = Pick<PackRequest, "physicalPath" | "compression" | "level">;

export function packKey({ physicalPath, compression, level }: PackWay): PackKey {
  return `${compression} ${level ?? DEFAULT_LEVEL[compression]} ${physicalPath}` as PackKey;
}

/** Packs a path, and settles once `onPart` has settled for every part. */
export type Pack = (request: PackRequest, signal: AbortSignal) => Promise<PackResult>;

export interface SpooledNarOptions<Reader> {
  /** The path to pack, without a receiver of its parts. */
  readonly request: Omit<PackRequest, "onPart">;
  /** All that read it, or will; who else comes is too late. */
  readonly readers: Iterable<Reader>;
  readonly spool: SpoolFile;
  /** Takes a path from a reader, this one or another, to make room in the spool. */
  readonly makeRoom: () => void;
}

/**
 * One path, packed once for several readers:
 *
 *     pool --part--> spool --part--> reader, each at its own pace
 *
 * A part leaves the spool when every reader has it. Packing never waits for a reader: where the spool has
 * no room, readers lose the path and pack again. It stops when no reader is left.
 */
export class SpooledNar<Reader> {
  readonly key: PackKey;
  readonly request: Omit<PackRequest, "onPart">;
  readonly #spool: SpoolFile;
  readonly #makeRoom: () => void;
  readonly #readers: Map<Reader, Taken>;
  readonly #parts: (SpooledPart | undefined)[] = [];
  readonly #abandoned = new AbortController();
  #storedBytes = 0;
  #freed = 0;
  #result: PackResult | undefined;
  #failure: { readonly error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  constructor({ request, readers, spool, makeRoom }: SpooledNarOptions<Reader>) {
    this.key = packKey(request);
    this.request = request;
    this.#spool = spool;
    this.#makeRoom = makeRoom;
    this.#readers = new Map([...readers].map((reader) => [reader, NOTHING]));
  }

  /** Packs it; never rejects. Call it once. */
  async run(pack: Pack): Promise<void> {
    const onPart = (part: PackedPart): Promise<void> => this.#store(part);
    try {
      this.#result = await pack({ ...this.request, onPart }, this.#abandoned.signal);
    } catch (error) {
      this.#failure = { error };
    }
    this.#tell();
  }

  get hasReaders(): boolean {
    return this.#readers.size > 0;
  }

  has(reader: Reader): boolean {
    return this.#readers.has(reader);
  }

  /** Bytes in the spool that the reader has not taken. */
  unreadBytes(reader: Reader): number {
    const taken = this.#readers.get(reader);
    return taken === undefined ? 0 : this.#storedBytes - taken.bytes;
  }

  /**
   * Waits for the next part that the reader has not taken. The end comes only if the files are what the
   * store recorded.
   *
   * @returns The result of packing behind the last part; undefined if the reader has lost the path.
   * @throws What packing threw.
   */
  async next(reader: Reader): Promise<SpooledPart | PackResult | undefined> {
    for (;;) {
      const taken = this.#readers.get(reader);
      if (taken === undefined) return undefined;
      const part = this.#parts[taken.parts];
      if (part !== undefined) return part;
      if (this.#failure !== undefined) throw this.#failure.error;
      // Parts may be written out of order; with the result all are there.
      if (this.#result !== undefined) return this.#result;
      await this.#changed.promise;
    }
  }

  /** Notes that the reader has a copy of its next part, unless it has lost the path meanwhile. */
  take(reader: Reader): boolean {
    const taken = this.#readers.get(reader);
    const part = taken === undefined ? undefined : this.#parts[taken.parts];
    if (taken === undefined || part === undefined) return false;
    const [parts, bytes] = [taken.parts + 1, taken.bytes + part.sizeBytes];
    this.#readers.set(reader, { parts, bytes });
    this.#free();
    return true;
  }

  /** Forgets a reader that has all of it, or is to have no more. */
  leave(reader: Reader): void {
    if (!this.#readers.delete(reader)) return;
    this.#free();
    if (!this.hasReaders) this.#abandoned.abort(new Error("Nobody reads this path any more"));
    this.#tell();
  }

  async #store({ bytes, ...part }: PackedPart): Promise<void> {
    const extent = await this.#write(bytes);
    if (extent === undefined) return;
    this.#storedBytes += bytes.length;
    this.#parts[part.number - 1] = { ...part, extent, sizeBytes: bytes.length };
    this.#free();
    this.#tell();
  }

  /** Returns undefined if no reader is left. */
  async #write(bytes: Uint8Array): Promise<Extent | undefined> {
    while (this.hasReaders) {
      const extent = await this.#spool.write(bytes);
      if (extent !== undefined) return extent;
      this.#makeRoom();
    }
    return undefined;
  }

  /** Frees what every reader has, in order. */
  #free(): void {
    const least = [...this.#readers.values()].reduce(
      (n, { parts }) => Math.min(n, parts),
      Infinity,
    );
    for (; this.#freed < least; this.#freed += 1) {
      const part = this.#parts[this.#freed];
      if (part === undefined) return;
      this.#spool.free(part.extent);
    }
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
