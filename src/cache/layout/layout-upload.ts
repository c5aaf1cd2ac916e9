import { randomUUID } from "node:crypto";

import { printNarInfo } from "../../nix/narinfo.ts";
import { hashPartOf, nameOf } from "../../nix/store-path.ts";
import { NAR_SUFFIXES, narInfoName, narInfoOf } from "../binary-cache.ts";
import type { PackedFile, Upload, UploadPart, UploadRequest } from "../contract.ts";
import type { LargeName, LargeObject, ObjectRequest, ObjectStore } from "./object-store.ts";

const NAR_TYPE = "application/x-nix-nar";
const NARINFO_TYPE = "text/x-nix-narinfo";

export interface LayoutUploadOptions {
  /** The cache, for messages. */
  readonly label: string;
  readonly objects: ObjectStore;
  readonly request: UploadRequest;
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
  #large: LargeObject | undefined;
  /** True once the narinfo was sent: readers may have it, whatever became of the answer. */
  #mayBePublished = false;

  constructor(options: LayoutUploadOptions) {
    this.#options = options;
  }

  async putPart(part: UploadPart, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { objects } = this.#options;
    if (part.number === 1 && part.fileHash !== undefined) {
      const file = { fileHash: part.fileHash, fileSize: part.bytes.length };
      const object = { name: this.#narName(file), bytes: part.bytes, contentType: NAR_TYPE };
      await objects.put(object, this.#asking(signal));
      return;
    }
    this.#large ??= objects.startLarge(this.#largeName());
    await this.#large.put(part, this.#asking(signal));
  }

  async publish(file: PackedFile, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { objects, request } = this.#options;
    const asking = this.#asking(signal);
    const url = (await this.#large?.finish(file, asking)) ?? this.#narName(file);
    const text = printNarInfo({ ...narInfoOf(request, file), url });
    const name = narInfoName(hashPartOf(request.info.path));
    const bytes = new TextEncoder().encode(text);
    this.#mayBePublished = true;
    await objects.put({ name, bytes, contentType: NARINFO_TYPE }, asking);
  }

  /** Leaves a NAR that has its name already: others may have published the same. */
  async abort(): Promise<void> {
    if (!this.#mayBePublished) await this.#large?.abort();
  }

  #narName(file: PackedFile): string {
    return narInfoOf(this.#options.request, file).url;
  }

  #largeName(): LargeName {
    const { info, compression } = this.#options.request;
    const [, digest = ""] = info.narHash.split(":");
    return {
      of: (file) => this.#narName(file),
      unique: `nar/${digest}-${randomUUID()}${NAR_SUFFIXES[compression]}`,
      contentType: NAR_TYPE,
    };
  }

  #asking(signal: AbortSignal): ObjectRequest {
    const { label, request } = this.#options;
    return { action: `write ${JSON.stringify(nameOf(request.info.path))} to ${label}`, signal };
  }
}
