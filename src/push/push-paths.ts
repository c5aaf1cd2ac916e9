import type { Cache, Compression, NarInfoFields, Upload } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { parseSha256, sha256FromHex } from "../nix/hash.ts";
import type { SecretKey } from "../nix/key.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { fingerprint, signFingerprint } from "../nix/signature.ts";
import { nameOf } from "../nix/store-path.ts";
import type { StorePath } from "../nix/store-path.ts";
import { Budget } from "./budget.ts";
import { toFailure } from "./events.ts";
import type { PushEvent } from "./events.ts";
import type { PackResult } from "./pack-protocol.ts";
import type { PackPool } from "./pack-pool.ts";
import { Pace } from "./pace.ts";

/** One path to push. */
export interface PushTask {
  readonly info: PathInfo;
  /** Where its files are. */
  readonly physicalPath: string;
}

export interface PushOptions {
  readonly cache: Cache;
  readonly pool: PackPool;
  readonly compression: Compression;
  readonly level: number | undefined;
  /** Signs in place of the cache. */
  readonly signingKey: SecretKey | undefined;
  readonly onEvent: (event: PushEvent) => void;
  readonly signal: AbortSignal;
}

/** Paths on their way at once. A small one is four round trips, so many are needed. */
const PATHS_IN_FLIGHT = 64;
/** How long an interrupted run waits for the answer to the start of an upload. */
const BEGIN_GRACE_MS = 400;
/** Once one path failed for such a reason after all retries, the others would as well. */
const OUTAGE: ReadonlySet<string> = new Set(["NETWORK", "CACHE_UNAVAILABLE"]);
/** The cache does not want us: nothing more is sent, and the run ends with this error. */
const REFUSED: ReadonlySet<string> = new Set([
  "CACHE_REFUSED",
  "CACHE_READ_ONLY",
  "CACHE_NOT_FOUND",
  "KEY_MISMATCH",
]);

/** Whether an error means that the cache does not want us at all. */
export function isRefusal(error: unknown): boolean {
  return error instanceof HandpickError && REFUSED.has(error.code);
}

/**
 * Pushes paths into one cache, references before referrers:
 *
 *     begin -> pack -> parts -> hash as recorded? -> references ready? -> publish
 *
 * A path is *ready* when its own NAR is stored (published, if the cache leaves the closure rule to
 * us) and its references are. Nothing is published before it is ready, so that a path whose
 * reference failed is held and not seen. A path that fails stops only what needs it.
 *
 * @param tasks In reference order, each path once.
 * @throws {HandpickError} `CACHE_REFUSED` and the like, once everything running was aborted.
 * @throws The reason `signal` was aborted with.
 */
export async function pushPaths(tasks: readonly PushTask[], options: PushOptions): Promise<void> {
  await new Run(options).all(tasks);
}

class Run {
  readonly #options: PushOptions;
  readonly #slots = new Budget(PATHS_IN_FLIGHT);
  readonly #pace = new Pace();
  readonly #ready = new Map<StorePath, PromiseWithResolvers<boolean>>();
  readonly #refused = new AbortController();
  readonly #signal: AbortSignal;
  /** An upload whose start was asked for can be given up only once its name is known. */
  readonly #beginSignal = new AbortController();
  #outage: HandpickError | undefined;

  constructor(options: PushOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#refused.signal]);
    this.#signal.addEventListener("abort", () => {
      const giveUp = (): void => this.#beginSignal.abort(this.#signal.reason);
      setTimeout(giveUp, BEGIN_GRACE_MS).unref();
    });
  }

  async all(tasks: readonly PushTask[]): Promise<void> {
    for (const { info } of tasks) this.#ready.set(info.path, Promise.withResolvers());
    const running: Promise<void>[] = [];
    for (const task of tasks) {
      const endSlot = await this.#slots.take(1, this.#signal).catch(() => undefined);
      if (endSlot === undefined) break;
      running.push(this.#one(task, endSlot));
    }
    await Promise.all(running);
    this.#signal.throwIfAborted();
  }

  /** Never throws: what goes wrong becomes an event, or aborts the run. */
  async #one(task: PushTask, endSlot: () => void): Promise<void> {
    const { path } = task.info;
    const ready = this.#ready.get(path);
    try {
      const pushed = await this.#push(task, endSlot);
      ready?.resolve(pushed);
    } catch (error) {
      ready?.resolve(false);
      this.#fail(path, error);
    } finally {
      endSlot();
    }
  }

  #fail(path: StorePath, error: unknown): void {
    if (this.#signal.aborted) return;
    if (isRefusal(error)) {
      this.#refused.abort(error);
      return;
    }
    if (error instanceof HandpickError && OUTAGE.has(error.code)) this.#outage ??= error;
    const { cache, onEvent } = this.#options;
    onEvent({ event: "failed", cache: cache.name, path, error: toFailure(error) });
  }

  /** False if the path was held. */
  async #push(task: PushTask, endSlot: () => void): Promise<boolean> {
    const { cache, compression, onEvent } = this.#options;
    const { info } = task;
    if (this.#outage !== undefined) throw this.#outage;
    const startMs = performance.now();
    onEvent({ event: "start", cache: cache.name, path: info.path, narSize: info.narSize });
    const request = { storePath: info.path, compression };
    const upload = await cache.beginUpload(request, this.#beginSignal.signal);
    try {
      this.#signal.throwIfAborted();
      const result = await this.#pack(task, upload);
      endSlot();
      const missing = await this.#firstUnready(info);
      if (missing !== undefined) {
        this.#hold(info.path, missing);
        await upload.abort();
        return false;
      }
      if (cache.closureRule === "cache") this.#ready.get(info.path)?.resolve(true);
      await this.#publish(upload, this.#narInfo(info, result));
      const durationMs = Math.round(performance.now() - startMs);
      const { narSize, fileSize } = result;
      onEvent({
        event: "pushed",
        cache: cache.name,
        path: info.path,
        narSize,
        fileSize,
        compression,
        durationMs,
      });
      return true;
    } catch (error) {
      await upload.abort();
      throw error;
    }
  }

  /** The place given up while waiting for references is taken again. */
  async #publish(upload: Upload, fields: NarInfoFields): Promise<void> {
    const endSlot = await this.#slots.take(1, this.#signal);
    try {
      await upload.publish(fields, this.#signal);
    } finally {
      endSlot();
    }
  }

  async #pack({ info, physicalPath }: PushTask, upload: Upload): Promise<PackResult> {
    const { cache, pool, compression, level, onEvent } = this.#options;
    const partSize = this.#pace.partSize(info.narSize);
    let sentBytes = 0;
    let narBytes = 0;
    const result = await pool.pack(
      {
        physicalPath,
        narSize: info.narSize,
        compression,
        level,
        partSize,
        onPart: async (part, signal) => {
          await this.#pace.send(part.bytes.length, signal, () => upload.putPart(part, signal));
          sentBytes += part.bytes.length;
          narBytes += part.narBytes;
          onEvent({ event: "sent", cache: cache.name, path: info.path, sentBytes, narBytes });
        },
      },
      this.#signal,
    );
    assertAsRecorded(info, result);
    return result;
  }

  /** Waits for the references; the first that will not be there for readers, if any. */
  async #firstUnready(info: PathInfo): Promise<StorePath | undefined> {
    for (const reference of info.references) {
      if (reference === info.path) continue;
      const ready = await this.#orAborted(this.#ready.get(reference)?.promise);
      if (ready === false) return reference;
    }
    return undefined;
  }

  #orAborted<T>(promise: Promise<T> | undefined): Promise<T | undefined> {
    if (promise === undefined) return Promise.resolve(undefined);
    this.#signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(this.#signal.reason as Error);
      this.#signal.addEventListener("abort", onAbort, { once: true });
      void promise.then((value) => {
        this.#signal.removeEventListener("abort", onAbort);
        resolve(value);
      });
    });
  }

  #hold(path: StorePath, reference: StorePath): void {
    const { cache, onEvent } = this.#options;
    const text = `needs ${reference}, which could not be pushed`;
    onEvent({ event: "held", cache: cache.name, path, reason: { code: "reference-failed", text } });
  }

  #narInfo(info: PathInfo, result: PackResult): NarInfoFields {
    const { signingKey } = this.#options;
    const signed = {
      storePath: info.path,
      narHash: info.narHash,
      narSize: result.narSize,
      references: info.references,
    };
    return {
      ...signed,
      deriver: info.deriver,
      contentAddress: info.contentAddress,
      fileHash: sha256FromHex(result.fileHash),
      fileSize: result.fileSize,
      signature:
        signingKey === undefined ? undefined : signFingerprint(fingerprint(signed), signingKey),
    };
  }
}

function assertAsRecorded(info: PathInfo, result: PackResult): void {
  const narHash = parseSha256(`sha256:${result.narHash}`);
  if (narHash === info.narHash && (info.narSize === 0 || result.narSize === info.narSize)) return;
  throw new HandpickError(
    "STORE_PATH_CORRUPT",
    `Cannot push ${nameOf(info.path)}: its files are not what the store recorded\n` +
      `  recorded ${info.narHash}, ${info.narSize} bytes\n` +
      `  found    ${narHash}, ${result.narSize} bytes`,
    { hint: `Run nix-store --repair-path ${info.path}, or build it again.` },
  );
}
