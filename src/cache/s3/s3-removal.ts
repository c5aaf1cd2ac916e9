import { DeleteObjectCommand, HeadObjectCommand } from "@aws-sdk/client-s3";

import { HandpickError } from "../../error.ts";
import type { CacheFile, CacheFiles } from "../pruner.ts";
import type { ObjectRemoval, ObjectRequest } from "../layout/object-store.ts";
import { listPages } from "./list-pages.ts";
import { isFailed, type S3Bucket } from "./s3-bucket.ts";

/** Lists all objects of a bucket, or of a folder in it, and removes them one by one. */
export class S3Removal implements ObjectRemoval {
  readonly #bucket: S3Bucket;
  /** False once the server showed that it knows no conditions here. */
  #knowsConditions = true;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  async list(request: ObjectRequest): Promise<CacheFiles> {
    const bucket = this.#bucket;
    const root = bucket.keyOf("");
    const files: CacheFile[] = [];
    let nowMs: number | undefined;
    for await (const page of listPages(bucket, { prefix: "" }, request)) {
      nowMs ??= bucket.serverTimeMs;
      for (const { Key = "", Size = NaN, LastModified, ETag } of page.Contents ?? []) {
        files.push({
          name: Key.slice(root.length),
          sizeBytes: Size,
          modifiedMs: LastModified?.getTime() ?? NaN,
          version: ETag ?? "",
        });
      }
      // What a list lacks would look as if nobody had it.
      const isCut = page.IsTruncated === true && page.NextContinuationToken === undefined;
      if (isCut) throw cutShort(request);
    }
    return { nowMs: nowMs ?? newestOf(files), files };
  }

  /** Looks first, since one that was written again with the same bytes has the same tag. */
  async remove(file: CacheFile, request: ObjectRequest): Promise<boolean> {
    const bucket = this.#bucket;
    const object = bucket.object(file.name);
    const head = await bucket.tryAsk(request, (sdk, options) =>
      sdk.send(new HeadObjectCommand(object), options),
    );
    if (isFailed(head)) {
      if (head.failed.status === 404) return true;
      throw bucket.error(head.failed);
    }
    if (!isSame(file, head)) return false;
    const isConditional = this.#knowsConditions && file.version !== "";
    const condition = isConditional ? { IfMatch: file.version } : {};
    const outcome = await bucket.tryAsk(request, (sdk, options) =>
      sdk.send(new DeleteObjectCommand({ ...object, ...condition }), options),
    );
    if (!isFailed(outcome)) return true;
    const { status } = outcome.failed;
    // Sent again after an answer that was lost, it finds nothing.
    if (status === 404) return true;
    if (status === 412 && isConditional) return false;
    if ((status === 400 || status === 501) && isConditional) {
      this.#knowsConditions = false;
      return await this.remove(file, request);
    }
    throw bucket.error(outcome.failed);
  }
}

function cutShort({ action }: ObjectRequest): HandpickError {
  const message = `Cannot ${action}: the list is cut, and does not say how it goes on`;
  return new HandpickError("CACHE_PROTOCOL", message, {
    hint: "This server lacks a part of S3 that prune needs: ListObjectsV2.",
  });
}

interface Head {
  readonly ETag?: string | undefined;
  readonly LastModified?: Date | undefined;
  readonly ContentLength?: number | undefined;
}

/** Headers have times in whole seconds, lists may have more. */
function isSame(file: CacheFile, { ETag = "", LastModified, ContentLength }: Head): boolean {
  const foundMs = LastModified?.getTime() ?? NaN;
  const isThatTime = Math.abs(foundMs - file.modifiedMs) < 1000;
  return isThatTime && ContentLength === file.sizeBytes && ETag === file.version;
}

/** A time that has passed, where the server tells none. */
function newestOf(files: readonly CacheFile[]): number {
  const known = files.filter(({ modifiedMs }) => !Number.isNaN(modifiedMs));
  return known.reduce((newest, { modifiedMs }) => Math.max(newest, modifiedMs), 0);
}
