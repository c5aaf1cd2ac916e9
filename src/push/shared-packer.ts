import type { PartTraits } from "../cache/contract.ts";
import { temporaryFolder } from "../files/unnamed-file.ts";
import { Budget } from "../budget.ts";
import { leastPartSize } from "./pace.ts";
import { PackPool, type PackPoolOptions, type PackRequest } from "./pack-pool.ts";
import { PartMemory } from "./part-memory.ts";
import { SpoolFile } from "./spool-file.ts";
import { type PackKey, packKey, SpooledNar } from "./spooled-nar.ts";

export interface SharedPackerOptions extends Pick<PackPoolOptions, "threads"> {
  /** The folder in which parts wait for slow caches. @default {that for temporary files} */
  readonly spoolDir?: string;
  /** How much may wait there, in bytes. @default {2 GiB} */
  readonly spoolBytes?: number;
}

/** A cache that paths are packed for. */
export interface Member {
  /** Memory for its parts, given its size here. */
  readonly memory: Budget;
  /** True while it takes parts straight from the pool, which waits for it. */
  readonly isStreaming: boolean;
  /** The way it wants its parts; undefined while that is not known. */
  readonly parts: PartTraits | undefined;
  /** True if it wants the listing of each path. */
  readonly listings: boolean;
  /** True if it is going to ask for the path, or may be. */
  isAwaiting(key: PackKey): boolean;
}

const SPOOL_BYTES = 2 ** 31;
/** For the parts of all caches. */
const MEMORY_BYTES = 32 << 20;
/** For a cache: a part is sent while the next is read. */
const LEAST_MEMORY_BYTES = 10 << 20;
/** For parts on their way into the spool: one is written while the next is packed. */
const PACKING_BYTES = 16 << 20;
/** Smaller than for one cache, whose memory holds four: three caches have room for two each. */
const PART_BYTES = 5 << 20;

/**
 * Packs paths for all caches of a run, each path once for those that want it packed alike: one pool,
 * one spool, one amount of memory.
 */
export class SharedPacker implements AsyncDisposable {
  readonly pool: PackPool;
  readonly spool: SpoolFile;
  readonly spare: PartMemory = new PartMemory();
  readonly #packing = new Budget(PACKING_BYTES);
  readonly #members = new Set<Member>();
  /** About from the oldest to the newest. There are several of a path that had to be packed again. */
  readonly #nars = new Map<PackKey, readonly SpooledNar<Member>[]>();

  constructor(options: SharedPackerOptions = {}) {
    const { spoolDir = temporaryFolder(), spoolBytes = SPOOL_BYTES, ...pool } = options;
    this.pool = new PackPool({ ...pool, spare: this.spare });
    this.spool = new SpoolFile({ dir: spoolDir, limitBytes: spoolBytes });
  }

  /** The number of caches. */
  get size(): number {
    return this.#members.size;
  }

  add(member: Member): void {
    this.#members.add(member);
    this.#share();
  }

  remove(member: Member): void {
    this.#members.delete(member);
    for (const nar of [...this.#nars.values()].flat()) this.leave(nar, member);
    this.#share();
  }

  /** Lets go of what is kept for a member that does not await it. */
  review(member: Member): void {
    for (const key of this.#nars.keys()) if (!member.isAwaiting(key)) this.letGo(member, key);
  }

  /** Lets go of one path that is kept for a member. */
  letGo(member: Member, key: PackKey): void {
    for (const nar of this.#nars.get(key) ?? []) this.leave(nar, member);
  }

  /** True if another cache makes the pool wait for it. */
  isHeldUp(member: Member): boolean {
    return [...this.#members].some((other) => other !== member && other.isStreaming);
  }

  /** Finds the path where it is packed for this member too. */
  find(member: Member, request: PackRequest): SpooledNar<Member> | undefined {
    for (const nar of this.#nars.get(packKey(request)) ?? []) {
      if (!nar.has(member)) continue;
      if (isFit(nar, request, member)) return nar;
      this.leave(nar, member);
    }
    return undefined;
  }

  /** Packs a path for a member and all that await it; undefined if there is no room for even a part. */
  start(member: Member, request: PackRequest): SpooledNar<Member> | undefined {
    const key = packKey(request);
    const readers = [...this.#members].filter((one) => one === member || one.isAwaiting(key));
    const { onPart: _, ...plain } = request;
    const traits = readers.flatMap(({ parts }) => parts ?? []);
    const least = traits.map((parts) => leastPartSize(request.narSize, parts));
    const partSize = Math.max(Math.min(request.partSize, PART_BYTES), ...least);
    if (this.spool.limitBytes < partSize) return undefined;
    const md5 = request.md5 === true || traits.some((parts) => parts.md5);
    const listing = readers.some(({ listings }) => listings);
    const nar = new SpooledNar<Member>({
      request: { ...plain, partSize, md5, listing, memory: this.#packing },
      readers,
      spool: this.spool,
      makeRoom: () => this.#makeRoom(nar),
    });
    this.#nars.set(key, [...(this.#nars.get(key) ?? []), nar]);
    void nar.run((whole, signal) => this.pool.pack(whole, signal));
    return nar;
  }

  /** Ends the reading of a path by one member. */
  leave(nar: SpooledNar<Member>, member: Member): void {
    nar.leave(member);
    if (nar.hasReaders) return;
    const others = this.#nars.get(nar.key)?.filter((other) => other !== nar) ?? [];
    if (others.length > 0) this.#nars.set(nar.key, others);
    else this.#nars.delete(nar.key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) this.remove(member);
    await this.pool[Symbol.asyncDispose]();
    await this.spool[Symbol.asyncDispose]();
  }

  #share(): void {
    const share = Math.floor(MEMORY_BYTES / Math.max(this.#members.size, 1));
    for (const { memory } of this.#members) memory.resize(Math.max(share, LEAST_MEMORY_BYTES));
  }

  /**
   * Takes from the cache that is furthest behind the path that it would read last. Where nothing waits
   * in the spool, the disk is full: those who want this path pack it themselves.
   */
  #makeRoom(wanting: SpooledNar<Member>): void {
    const nars = [...this.#nars.values()].flat();
    let [slowest, most]: [Member | undefined, number] = [undefined, 0];
    for (const member of this.#members) {
      const unread = nars.reduce((sum, nar) => sum + nar.unreadBytes(member), 0);
      if (unread > most) [slowest, most] = [member, unread];
    }
    if (slowest === undefined) {
      for (const member of this.#members) this.leave(wanting, member);
      return;
    }
    const last = nars.findLast((nar) => slowest !== undefined && nar.has(slowest));
    if (last !== undefined) this.leave(last, slowest);
  }
}

/** Returns true if the parts are such as the member's cache takes. */
function isFit({ request }: SpooledNar<Member>, own: PackRequest, { parts }: Member): boolean {
  const least = parts === undefined ? 0 : leastPartSize(own.narSize, parts);
  return request.partSize >= least && (request.md5 === true || own.md5 !== true);
}
