import type { Cache, Companion, Compression, Upload } from "../cache/contract.ts";
import { listingOf } from "../cache/binary-cache.ts";
import { DelayedAbort } from "../cache/delayed-abort.ts";
import { HandpickError, isOutage, isRefusal, toFailure } from "../error.ts";
import { sha256FromHex } from "../nix/hash.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { hashPartOf, type StorePath } from "../nix/store-path.ts";
import type { Lack } from "../plan/plan.ts";
import { affordable } from "../files/open-files.ts";
import { Budget } from "../budget.ts";
import type { CompanionLack, PushEvent } from "./events.ts";
import type { PackResult } from "./pack-protocol.ts";
import type { CachePacker } from "./cache-packer.ts";
import { Pace } from "./pace.ts";
import { Place } from "./place.ts";
import { Progress, type Stage } from "./progress.ts";

/** One path to push. */
export interface PushTask {
  readonly info: PathInfo;
  /** Where its files are. */
  readonly physicalPath: string;
}

export interface PushOptions {
  readonly cache: Cache;
  readonly packer: CachePacker;
  readonly compression: Compression;
  readonly level: number | undefined;
  /** The signatures that readers get of a path, whose NAR size is known. */
  readonly signaturesOf: (info: PathInfo) => readonly string[];
  /** True if the cache may take nothing from us: one path goes first, alone. @default {false} */
  readonly isDoubtful?: boolean;
  readonly onEvent: (event: PushEvent) => void;
  /** Makes the small files that go with a path, besides its listing. @default {none} */
  readonly companionsOf?: (info: PathInfo, signal: AbortSignal) => AsyncIterable<Companion>;
  /** Told of each small file that cannot go with its path, which goes without it. */
  readonly onLack?: (lack: CompanionLack) => void;
  readonly signal: AbortSignal;
}

/** Paths on their way at once. A small one is four round trips, so many are needed. */
const PATHS_IN_FLIGHT = 64;
/** A connection to the API and one to the storage. */
const FILES_PER_PATH = 2;
/** How long an interrupted run waits for the answer to the start of an upload. */
const BEGIN_GRACE_MS = 400;
/**
 * Pushes paths into one cache, references before referrers:
 *
 *     begin -> pack -> parts -> hash as recorded? -> last part -> references ready? -> publish
 *
 * A path is published once its references are stored, or visible if the cache leaves the closure rule to us
 * (see {@link Stage}), and reported as pushed when it is visible itself. A path that fails holds what needs it and stops nothing else. Where parts go in order, even the
 * first waits until the references are ready: uploads that wait would hold the connections that those need.
 *
 * @param tasks In reference order, each path once.
 * @throws {HandpickError} `CACHE_REFUSED` and the like, once everything running was aborted.
 * @throws The reason `signal` was aborted with.
 */
export async function pushPaths(tasks: readonly PushTask[], options: PushOptions): Promise<void> {
  await new Run(tasks, options).all(tasks);
}

class Run {
  readonly #options: PushOptions;
  readonly #places: Budget;
  readonly #pace: Pace;
  readonly #progress: Progress;
  readonly #refused = new AbortController();
  readonly #signal: AbortSignal;
  /** An upload whose start was asked for can be given up only once its name is known. */
  readonly #beginSignal: AbortSignal;
  #outage: HandpickError | undefined;

  constructor(tasks: readonly PushTask[], options: PushOptions) {
    this.#options = options;
    this.#pace = new Pace(options.cache.traits.parts);
    this.#places = new Budget(affordable(PATHS_IN_FLIGHT, FILES_PER_PATH * options.packer.shares));
    this.#signal = AbortSignal.any([options.signal, this.#refused.signal]);
    this.#beginSignal = new DelayedAbort(this.#signal, BEGIN_GRACE_MS).signal;
    const paths = tasks.map(({ info }) => info.path);
    this.#progress = new Progress(paths, this.#signal);
  }

  async all(tasks: readonly PushTask[]): Promise<void> {
    const { cache, packer, compression, level } = this.#options;
    const physicalPaths = tasks.map(({ physicalPath }) => physicalPath);
    packer.expect({ physicalPaths, compression, level, parts: cache.traits.parts });
    using _progress = this.#progress;
    const first = this.#options.isDoubtful === true ? smallestAlone(tasks) : undefined;
    if (first !== undefined) await this.#one(first, this.#newPlace());
    const running: Promise<void>[] = [];
    for (const task of tasks) {
      if (task === first) continue;
      const place = this.#newPlace();
      if (this.#isInOrder) running.push(this.#oneAfterReferences(task, place));
      else if (await isDone(place.take())) running.push(this.#one(task, place));
      else break;
    }
    await Promise.all(running);
    this.#signal.throwIfAborted();
  }

  #newPlace(): Place {
    return new Place(this.#places, this.#signal);
  }

  get #isInOrder(): boolean {
    return this.#options.cache.traits.parts.inOrder;
  }

  /** How far references have to be: waiting until they are visible would cost a chain of 500 paths 500 round trips. */
  get #needed(): Stage {
    return this.#options.cache.traits.closureRule === "cache" ? "stored" : "visible";
  }

  /** Takes a place only once the path can go all the way. */
  async #oneAfterReferences(task: PushTask, place: Place): Promise<void> {
    const ready = this.#progress.firstWithout(this.#needed, task.info).then(() => place.take());
    if (await isDone(ready)) await this.#one(task, place);
  }

  /** Never throws: what goes wrong becomes an event, or aborts the run. */
  async #one(task: PushTask, place: Place): Promise<void> {
    const { info, physicalPath } = task;
    const { packer, compression, level } = this.#options;
    let isVisible = false;
    try {
      isVisible = await this.#push(task, place);
    } catch (error) {
      this.#fail(info.path, error);
    } finally {
      packer.forget({ physicalPath, compression, level });
      this.#progress.settle(info.path, "stored", isVisible);
      this.#progress.settle(info.path, "visible", isVisible);
      place.leave();
    }
  }

  #fail(path: StorePath, error: unknown): void {
    if (this.#signal.aborted) return;
    if (error instanceof HandpickError && isRefusal(error.code)) {
      this.#refused.abort(error);
      return;
    }
    if (error instanceof HandpickError && isOutage(error.code)) this.#outage ??= error;
    const { cache, onEvent } = this.#options;
    onEvent({ event: "failed", cache: cache.name, path, error: toFailure(error) });
  }

  /** False if the path was held. */
  async #push(task: PushTask, place: Place): Promise<boolean> {
    const { cache, compression, signaturesOf, onEvent } = this.#options;
    if (this.#outage !== undefined) throw this.#outage;
    if (this.#isInOrder && (await this.#isHeld(task.info))) return false;
    const startMs = performance.now();
    const info = await this.#measured(task);
    onEvent({ event: "start", cache: cache.name, path: info.path, narSize: info.narSize });
    const request = { info, compression, signatures: signaturesOf(info) };
    const upload = await cache.beginUpload(request, this.#beginSignal);
    try {
      this.#signal.throwIfAborted();
      const result = await this.#pack({ ...task, info }, upload);
      await this.#putCompanions(info, result);
      if (!this.#isInOrder) {
        place.leave();
        if (await this.#isHeld(info)) {
          await upload.abort();
          return false;
        }
      }
      this.#progress.settle(info.path, "stored", true);
      await place.take();
      const { fileHash, fileSize } = result;
      await upload.publish({ fileHash: sha256FromHex(fileHash), fileSize }, this.#signal);
      place.leave();
      const durationMs = Math.round(performance.now() - startMs);
      // References come first, so after an interruption they end soon; what is there is told.
      const hidden = await this.#progress.firstWithout("visible", info, { toEnd: true });
      if (hidden !== undefined) {
        this.#signal.throwIfAborted();
        this.#hold(info.path, { path: hidden, state: "hides" });
        return false;
      }
      const sizes = { narSize: info.narSize, fileSize, compression, durationMs };
      onEvent({ event: "pushed", cache: cache.name, path: info.path, ...sizes });
      return true;
    } catch (error) {
      await upload.abort();
      throw error;
    }
  }

  /** Waits for the references, and holds the path if one of them does not get so far. */
  async #isHeld(info: PathInfo): Promise<boolean> {
    const missing = await this.#progress.firstWithout(this.#needed, info);
    if (missing !== undefined) this.#hold(info.path, { path: missing, state: "failed" });
    return missing !== undefined;
  }

  /** Narinfos and signatures have the size of the NAR, which very old databases do not. */
  async #measured({ info, physicalPath }: PushTask): Promise<PathInfo> {
    if (info.narSize > 0) return info;
    const narSize = await this.#options.packer.measure({ info, physicalPath }, this.#signal);
    return { ...info, narSize };
  }

  async #pack({ info, physicalPath }: PushTask, upload: Upload): Promise<PackResult> {
    const { cache, packer, compression, level, onEvent } = this.#options;
    const partSize = this.#pace.partSize(info.narSize);
    const put = cache.traits.parts.inOrder ? inOrder() : atOnce;
    let sentBytes = 0;
    let narBytes = 0;
    return await packer.pack(
      {
        physicalPath,
        narSize: info.narSize,
        recorded: { path: info.path, narHash: info.narHash, narSize: info.narSize },
        compression,
        level,
        partSize,
        md5: cache.traits.parts.md5,
        onPart: async (part, signal) => {
          const fileHash = part.isLast ? sha256FromHex(part.hashSoFar) : undefined;
          const send = (): Promise<void> => upload.putPart({ ...part, fileHash }, signal);
          await put(() => this.#pace.send(part.bytes.length, signal, send));
          sentBytes += part.bytes.length;
          narBytes += part.narBytes;
          onEvent({ event: "sent", cache: cache.name, path: info.path, sentBytes, narBytes });
        },
      },
      this.#signal,
    );
  }

  /** They may be large, so they are not kept until the references are ready. */
  async #putCompanions(info: PathInfo, { listing }: PackResult): Promise<void> {
    const { cache, companionsOf, onLack } = this.#options;
    const { path } = info;
    if (listing !== undefined && "fault" in listing) {
      onLack?.({ path, what: "listing", why: listing.fault });
    } else if (listing !== undefined) {
      const companion = listingOf(hashPartOf(path), listing.text);
      await cache.companions?.put(companion, this.#signal);
    }
    for await (const companion of companionsOf?.(info, this.#signal) ?? []) {
      await cache.companions?.put(companion, this.#signal);
    }
  }

  #hold(path: StorePath, because: Lack): void {
    const { cache, onEvent } = this.#options;
    const reason = { code: "reference-failed", because } as const;
    onEvent({ event: "held", cache: cache.name, path, reason });
  }
}

/** Returns false if the run was aborted before, which its end tells. */
async function isDone(waiting: Promise<void>): Promise<boolean> {
  return await waiting.then(
    () => true,
    () => false,
  );
}

type Send = () => Promise<void>;

const atOnce = (send: Send): Promise<void> => send();

/** Sends one after the other, in the order of the calls; after one that fails, none. */
function inOrder(): (send: Send) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (send) => (last = last.then(send));
}

/** The smallest path that needs no other of them; they are in reference order, so there is one. */
function smallestAlone(tasks: readonly PushTask[]): PushTask | undefined {
  const paths = new Set(tasks.map(({ info }) => info.path));
  const needsOther = ({ info }: PushTask): boolean =>
    info.references.some((reference) => reference !== info.path && paths.has(reference));
  return tasks
    .filter((task) => !needsOther(task))
    .toSorted((a, b) => a.info.narSize - b.info.narSize)[0];
}
