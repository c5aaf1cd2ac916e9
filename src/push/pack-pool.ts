import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

import type { Compression } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { Budget } from "./budget.ts";
import type { FromWorker, PackJob, PackResult, ToWorker } from "./pack-protocol.ts";
import { CHUNK_BYTES } from "./pack.ts";

/** One slice of a packed path. */
export interface PackedPart {
  /** From 1. */
  readonly number: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** MD5 of the bytes, base64. */
  readonly md5: string;
}

export interface PackRequest {
  readonly physicalPath: string;
  readonly narSize: number;
  readonly compression: Compression;
  readonly level: number | undefined;
  /** Size of every part but the last, in bytes. */
  readonly partSize: number;
  /** Takes a part; its memory is used again once the promise settles. */
  readonly onPart: (part: PackedPart, signal: AbortSignal) => Promise<void>;
}

export interface PackPoolOptions {
  /** @default {one a core} */
  readonly threads?: number;
  /** Memory for parts that wait or are being sent, in bytes. @default {48 MiB} */
  readonly memoryBytes?: number;
}

const DEFAULT_MEMORY_BYTES = 48 << 20;
/** Part memory of at least this size is kept for the next part; smaller memory costs nothing. */
const KEEP_FROM_BYTES = 1 << 20;

/**
 * Packs store paths in worker threads. Small paths take a thread each; a large one uses all cores
 * for its compression, so large ones go one at a time. All parts share one memory budget.
 */
export class PackPool implements AsyncDisposable {
  readonly threads: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Set<Worker>();
  readonly #slots: Budget;
  readonly #large = new Budget(1);
  readonly #memory: Budget;
  readonly #spare: ArrayBuffer[] = [];

  constructor(options: PackPoolOptions = {}) {
    this.threads = options.threads ?? availableParallelism();
    this.#slots = new Budget(this.threads);
    this.#memory = new Budget(options.memoryBytes ?? DEFAULT_MEMORY_BYTES);
  }

  /**
   * Packs one path; settles after `onPart` has settled for every part. The first part that fails
   * stops the packing and is what is thrown.
   *
   * @throws {HandpickError} What reading or compressing threw in the worker.
   * @throws The reason `signal` was aborted with.
   */
  async pack(request: PackRequest, signal: AbortSignal): Promise<PackResult> {
    const isLarge = request.narSize >= CHUNK_BYTES;
    const endLarge = isLarge ? await this.#large.take(1, signal) : undefined;
    try {
      const endSlot = await this.#slots.take(1, signal);
      try {
        return await this.#run(request, signal);
      } finally {
        endSlot();
      }
    } finally {
      endLarge?.();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const workers = [...this.#idle, ...this.#busy];
    this.#idle.length = 0;
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  async #run(request: PackRequest, outer: AbortSignal): Promise<PackResult> {
    const failed = new AbortController();
    const signal = AbortSignal.any([outer, failed.signal]);
    const worker = this.#idle.pop() ?? new Worker(workerUrl());
    this.#busy.add(worker);
    const parts: Promise<void>[] = [];
    const takePart = (
      message: Extract<FromWorker, { type: "part" }>,
      release: () => void,
    ): void => {
      const bytes = new Uint8Array(message.memory, 0, message.sizeBytes);
      const part = { number: message.number, bytes, md5: message.md5 };
      const sent = request.onPart(part, signal).finally(() => {
        if (message.memory.byteLength >= KEEP_FROM_BYTES) this.#spare.push(message.memory);
        release();
      });
      parts.push(sent);
      sent.catch((error: unknown) => failed.abort(error));
    };
    try {
      const result = await this.#converse(worker, { request, signal, takePart });
      await Promise.all(parts);
      this.#idle.push(worker);
      return result;
    } catch (error) {
      failed.abort(error);
      // A thread that stopped in the middle is not asked again; its files close with it.
      await Promise.all([worker.terminate(), Promise.allSettled(parts)]);
      throw error;
    } finally {
      this.#busy.delete(worker);
    }
  }

  /** Sends the job, grants memory and collects parts until the worker is done. */
  #converse(worker: Worker, { request, signal, takePart }: Conversation): Promise<PackResult> {
    const { promise, resolve, reject } = Promise.withResolvers<PackResult>();
    const onAbort = (): void => reject(signal.reason as Error);
    let release = nothing;
    const take = (): (() => void) => {
      const taken = release;
      release = nothing;
      return taken;
    };
    const grant = async (sizeBytes: number): Promise<void> => {
      release = await this.#memory.take(sizeBytes, signal);
      const memory = this.#takeMemory(sizeBytes);
      worker.postMessage({ type: "grant", memory } satisfies ToWorker, [memory]);
    };
    const onMessage = (message: FromWorker): void => {
      if (message.type === "need") grant(message.sizeBytes).catch(reject);
      else if (message.type === "part") takePart(message, take());
      else if (message.type === "done") resolve(message);
      else reject(workerError(message, request.physicalPath));
    };
    const onExit = (): void => reject(new Error("The packing thread ended unexpectedly"));
    worker.on("message", onMessage).on("error", reject).on("exit", onExit);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const { onPart: _, ...job } = request;
    worker.postMessage({ type: "job", ...job, threads: this.threads } satisfies PackJob);
    return promise.finally(() => {
      worker.off("message", onMessage).off("error", reject).off("exit", onExit);
      signal.removeEventListener("abort", onAbort);
      take()();
    });
  }

  /** Spare memory counts against nobody's budget, so what does not fit a large request goes. */
  #takeMemory(sizeBytes: number): ArrayBuffer {
    const at = this.#spare.findIndex((memory) => memory.byteLength === sizeBytes);
    if (at !== -1) return this.#spare.splice(at, 1)[0] ?? new ArrayBuffer(sizeBytes);
    if (sizeBytes >= KEEP_FROM_BYTES) this.#spare.length = 0;
    return new ArrayBuffer(sizeBytes);
  }
}

const nothing = (): void => undefined;

interface Conversation {
  readonly request: PackRequest;
  readonly signal: AbortSignal;
  readonly takePart: (message: Extract<FromWorker, { type: "part" }>, release: () => void) => void;
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
