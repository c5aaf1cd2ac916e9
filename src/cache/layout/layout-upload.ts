import { randomUUID } from "node:crypto";

import { HandpickError, isOutage } from "../../error.ts";
import { printNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, nameOf } from "../../nix/store-path.ts";
import { NAR_SUFFIXES, narInfoName, narInfoOf } from "../binary-cache.ts";
import type { PackedFile, Upload, UploadPart, UploadRequest } from "../contract.ts";
import { DelayedAbort } from "../delayed-abort.ts";
import { putNarInfo } from "./put-narinfo.ts";
import type { LargeName, LargeObject, ObjectRequest, ObjectStore } from "./object-store.ts";

const NAR_TYPE = "application/x-nix-nar";
const UNIQUE =
  /^nar\/[0-9a-df-np-sv-z]{52}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.nar(?:\.zst|\.xz)?$/;
const NARINFO_TYPE = "text/x-nix-narinfo";

export interface LayoutUploadOptions {
  /** The cache, for messages. */
  readonly label: string;
  readonly objects: ObjectStore;
  readonly request: UploadRequest;
  /** True if nothing that the cache has of the path can be used. */
  readonly replaces: boolean;
  /** How long the answer to the narinfo may take after an interruption, in milliseconds. */
  readonly abortMs: number;
}

/**
 * One NAR on its way into a cache that is objects with names:
 *
 *     one part    nar/FILEHASH.nar.zst ----------------> HASH.narinfo
 *     several     large object -> its own name --------> HASH.narinfo
 *
 * So a narinfo never comes before its NAR.
 */
export class LayoutUpload implements Upload {
  readonly #options: LayoutUploadOptions;
  /** Undefined once the NAR is known to have one part. */
  #large: LargeObject | undefined;
  /** True once the narinfo was sent: readers may have it, whatever became of the answer. */
  #mayBePublished = false;

  private constructor(options: LayoutUploadOptions, large: LargeObject) {
    this.#options = options;
    this.#large = large;
  }

  /** @throws The reason `signal` was aborted with while it waited. */
  static async start(options: LayoutUploadOptions, signal: AbortSignal): Promise<LayoutUpload> {
    const { objects } = options;
    const large = await objects.startLarge(largeName(options), asking(options, signal));
    return new LayoutUpload(options, large);
  }

  async putPart(part: UploadPart, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const request = asking(this.#options, signal);
    if (part.number > 1 || part.fileHash === undefined) {
      await this.#large?.put(part, request);
      return;
    }
    const file = { fileHash: part.fileHash, fileSize: part.bytes.length };
    const name = narName(this.#options, file);
    await this.#options.objects.put({ name, bytes: part.bytes, contentType: NAR_TYPE }, request);
    await this.#large?.abort();
    this.#large = undefined;
  }

  async publish(file: PackedFile, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { objects, request, replaces, abortMs } = this.#options;
    const finished = await this.#large?.finish(file, asking(this.#options, signal));
    const url = finished ?? narName(this.#options, file);
    const record = { ...narInfoOf(request, file), url };
    const name = narInfoName(hashPartOf(request.info.path));
    const bytes = new TextEncoder().encode(printNarInfo(record));
    signal.throwIfAborted();
    using late = new DelayedAbort(signal, abortMs);
    this.#mayBePublished = true;
    const object = { name, bytes, contentType: NARINFO_TYPE };
    const writing = asking(this.#options, late.signal);
    try {
      this.#mayBePublished = await putNarInfo(object, {
        objects,
        narInfo: record,
        replaces,
        request: writing,
      });
    } catch (error) {
      const isAnswer = error instanceof HandpickError && !isOutage(error.code);
      if (isAnswer) this.#mayBePublished = await this.#mayBeNamed(object.name, url, writing);
      throw error;
    }
    if (!this.#mayBePublished) await this.#large?.abort();
  }

  /** A refusal may be that of a second try, after a first one whose answer was lost. */
  async #mayBeNamed(narInfo: string, url: string, request: ObjectRequest): Promise<boolean> {
    try {
      const found = await this.#options.objects.get(narInfo, request);
      if (found === undefined) return false;
      const [, named] = /^URL: (.*)$/m.exec(found.toString()) ?? [];
      // Something else, such as a login page, tells nothing of the narinfo.
      return named === undefined || named === url;
    } catch {
      return true; // the refusal is what the user is told
    }
  }

  /** Leaves a NAR that has its name already: others may have published the same. */
  async abort(): Promise<void> {
    if (!this.#mayBePublished) await this.#large?.abort();
  }
}

/** Returns true for a name of the form that this file gives to NARs of several parts. */
export function isUniqueName(name: string): boolean {
  return UNIQUE.test(name);
}

function narName({ request }: LayoutUploadOptions, file: PackedFile): string {
  return narInfoOf(request, file).url;
}

function largeName(options: LayoutUploadOptions): LargeName {
  const { info, compression } = options.request;
  const [, digest = ""] = info.narHash.split(":");
  return {
    of: (file) => narName(options, file),
    unique: `nar/${digest}-${randomUUID()}${NAR_SUFFIXES[compression]}`,
    contentType: NAR_TYPE,
    narSize: info.narSize,
    replaces: options.replaces,
  };
}

function asking({ label, request }: LayoutUploadOptions, signal: AbortSignal): ObjectRequest {
  return { action: `write ${JSON.stringify(nameOf(request.info.path))} to ${label}`, signal };
}
