import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

import type { Compression } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { affordable, isOutOfFiles, OPEN_FILES_HINT } from "../files/open-files.ts";
import { systemCode } from "../files/system-code.ts";
import { Budget } from "../budget.ts";
import type { FromWorker, PackJob, PackResult, Recorded, ToWorker } from "./pack-protocol.ts";
import { packWhole, SMALL_NAR_BYTES } from "./pack.ts";
import { PartMemory } from "./part-memory.ts";
import { type OnPart, PartSends } from "./part-sends.ts";
import type { CutPart } from "./part-writer.ts";
import { createGate, shutGate } from "./thread-gate.ts";
import type { ThreadGate } from "./thread-gate.ts";

export interface PackRequest {
  readonly physicalPath: string;
  readonly narSize: number;
  readonly compression: Compression;
  readonly level: number | undefined;
  /** Size of every part but the last, in bytes. */
  readonly partSize: number;
  /** True if every part needs its MD5. @default {false} */
  readonly md5?: boolean;
  /** True if the listing of the NAR is needed. @default {false} */
  readonly listing?: boolean;
  /** The record of the store: no last part of other files is handed on. */
  readonly recorded?: Recorded;
  /** Where the memory of its parts is taken from. @default {the budget of the pool} */
  readonly memory?: Budget;
  /** Threads for the compression of a large path. @default {as many as the pool has} */
  readonly threads?: number;
  readonly onPart: OnPart;
}

export interface PackPoolOptions {
  /** @default {one a core, at most 4} */
  readonly threads?: number;
  /** Memory for parts that wait or are being sent, in bytes. @default {32 MiB} */
  readonly memoryBytes?: number;
  /** Memory of parts that were sent. @default {that of this pool alone} */
  readonly spare?: PartMemory;
}

/** As many as libuv has for the compressor; one more costs some 20 MB. */
const MOST_THREADS = 4;
const DEFAULT_MEMORY_BYTES = 32 << 20;
/** Files that a thread has open: five of its own, and one that it reads. */
const FILES_PER_THREAD = 6;
/** A NAR up to this size is packed in the calling thread, in about a millisecond. */
const TINY_NAR_BYTES = 64 << 10;
/** Its file is a part where parts are that large: it may be a little larger than the NAR. */
const TINY_PART_BYTES = 2 * TINY_NAR_BYTES;

/**
 * Packs store paths in worker threads. Small paths take a thread each; a large one uses all cores
 * for its compression, so large ones go one at a time: a thread for each of two was no faster (5.2 s for
 * six paths of 1.1 GB, against 5.0 s). A tiny one would take longer to hand over than to pack, so it
 * gets no thread. All parts share one memory budget.
 */
export class PackPool implements AsyncDisposable {
  readonly threads: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Set<Worker>();
  readonly #gates = new WeakMap<Worker, ThreadGate>();
  /** Programs that threads run: nobody else ends them when a thread is ended. */
  readonly #programs = new Map<Worker, number | undefined>();
  readonly #killPrograms = (): void => {
    for (const pid of this.#programs.values()) this.#kill(pid);
  };
  readonly #slots: Budget;
  readonly #large = new Budget(1);
  readonly #memory: Budget;
  readonly #spare: PartMemory;

  constructor(options: PackPoolOptions = {}) {
    const {
      threads = affordable(Math.min(availableParallelism(), MOST_THREADS), FILES_PER_THREAD),
      memoryBytes = DEFAULT_MEMORY_BYTES,
    } = options;
    this.threads = threads;
    this.#slots = new Budget(threads);
    this.#memory = new Budget(memoryBytes);
    this.#spare = options.spare ?? new PartMemory();
    process.once("exit", this.#killPrograms);
  }

  /**
   * Packs one path; settles after `onPart` has settled for every part. The first part that fails
   * stops the packing and is what is thrown.
   *
   * @throws {HandpickError} What reading or compressing threw in the worker.
   * @throws The reason `signal` was aborted with.
   */
  async pack(request: PackRequest, signal: AbortSignal): Promise<PackResult> {
    if (isTiny(request)) return await this.#here(request, signal);
    const sends = new PartSends(request.onPart, signal);
    return await sends.settle(() => this.#inThread({ request, sends, signal: sends.signal }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const workers = [...this.#idle, ...this.#busy];
    this.#idle.length = 0;
    await Promise.all(workers.map((worker) => this.#end(worker)));
    process.off("exit", this.#killPrograms);
  }

  async #here(request: PackRequest, signal: AbortSignal): Promise<PackResult> {
    signal.throwIfAborted();
    const { part, result } = packWhole(request);
    const release = await (request.memory ?? this.#memory).take(part.bytes.length, signal);
    try {
      await request.onPart(part, signal);
    } finally {
      release();
    }
    return result;
  }

  async #inThread(job: Job): Promise<PackResult> {
    const isLarge = job.request.narSize >= SMALL_NAR_BYTES;
    const endLarge = isLarge ? await this.#large.take(1, job.signal) : nothing;
    try {
      const endSlot = await this.#slots.take(1, job.signal);
      try {
        return await this.#run(job);
      } finally {
        endSlot();
      }
    } finally {
      endLarge();
    }
  }

  async #run(job: Job): Promise<PackResult> {
    const worker = this.#idle.pop() ?? this.#start();
    this.#busy.add(worker);
    try {
      const result = await this.#converse(worker, job);
      this.#idle.push(worker);
      return result;
    } catch (error) {
      // A thread that stopped in the middle is not asked again; its files close with it.
      await this.#end(worker);
      throw error;
    } finally {
      this.#busy.delete(worker);
    }
  }

  #start(): Worker {
    const gate = createGate();
    const worker = new Worker(workerUrl(), { workerData: gate });
    this.#gates.set(worker, gate);
    // For as long as the thread lives: it may tell of a program after its job was given up.
    worker.on("message", (message: FromWorker) => {
      if (message.type === "program") this.#programs.set(worker, message.pid);
    });
    return worker;
  }

  async #end(worker: Worker): Promise<void> {
    const gate = this.#gates.get(worker);
    if (gate !== undefined) await shutGate(gate);
    await worker.terminate();
    this.#kill(this.#programs.get(worker));
    this.#programs.delete(worker);
  }

  #kill(pid: number | undefined): void {
    if (pid === undefined) return;
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      // It ended by itself a moment ago.
      if (systemCode(error) !== "ESRCH") throw error;
    }
  }

  /** Hands a part on; its memory is free again when that is done. */
  #sendPart({ memory, sizeBytes, ...part }: CutPart, { sends }: Job, release: () => void): void {
    sends.send({ ...part, bytes: new Uint8Array(memory, 0, sizeBytes) }, () => {
      this.#spare.give(memory);
      release();
    });
  }

  /** Sends the job, grants memory and takes parts until the worker is done. */
  #converse(worker: Worker, job: Job): Promise<PackResult> {
    const { request, signal } = job;
    const { onPart: _, memory: budget = this.#memory, ...plain } = request;
    const { promise, resolve, reject } = Promise.withResolvers<PackResult>();
    const onAbort = (): void => reject(signal.reason as Error);
    let release = nothing;
    const take = (): (() => void) => {
      const taken = release;
      release = nothing;
      return taken;
    };
    const grant = async (sizeBytes: number): Promise<void> => {
      release = await budget.take(sizeBytes, signal);
      const memory = this.#spare.take(sizeBytes);
      worker.postMessage({ type: "grant", memory } satisfies ToWorker, [memory]);
    };
    const onMessage = (message: FromWorker): void => {
      if (message.type === "need") grant(message.sizeBytes).catch(reject);
      else if (message.type === "part") this.#sendPart(message, job, take());
      else if (message.type === "done") resolve(message.result);
      else if (message.type === "failed") reject(workerError(message, request.physicalPath));
    };
    const onExit = (): void => reject(new Error("The packing thread ended unexpectedly"));
    const onError = (error: unknown): void => reject(isOutOfFiles(error) ? noThread(error) : error);
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const threads = request.narSize >= SMALL_NAR_BYTES ? (request.threads ?? this.threads) : 1;
    worker.postMessage({ type: "job", ...plain, threads } satisfies PackJob);
    return promise.finally(() => {
      worker.off("message", onMessage).off("error", onError).off("exit", onExit);
      signal.removeEventListener("abort", onAbort);
      take()();
    });
  }
}

const nothing = (): void => undefined;

function noThread(cause: unknown): HandpickError {
  const message = "Cannot start a thread to pack: this process may open no more files";
  return new HandpickError("OPEN_FILES_LIMIT", message, { cause, hint: OPEN_FILES_HINT });
}

/** Returns true if a path is packed in the calling thread. Programs are for threads, which end them. */
export function isTiny({
  compression,
  narSize,
  partSize,
}: Pick<PackRequest, "compression" | "narSize" | "partSize">): boolean {
  const isSmall = narSize > 0 && narSize <= TINY_NAR_BYTES;
  return compression === "zstd" && isSmall && partSize >= TINY_PART_BYTES;
}

interface Job {
  readonly request: PackRequest;
  readonly sends: PartSends;
  readonly signal: AbortSignal;
}

/** The worker stands beside this file: as source in the repository, bundled in a release. */
function workerUrl(): URL {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return new URL(`./pack-worker.${extension}`, import.meta.url);
}

function workerError(
  failure: Extract<FromWorker, { type: "failed" }>,
  physicalPath: string,
): Error {
  const { code, message, hint } = failure;
  if (code === undefined) return new Error(`Packing ${physicalPath} failed: ${message}`);
  return new HandpickError(code, message, { hint });
}
