import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  type MultipartUpload,
} from "@aws-sdk/client-s3";

import { HandpickError } from "../../error.ts";
import { isUniqueName } from "../layout/layout-upload.ts";
import type { ObjectRequest } from "../layout/object-store.ts";
import type { S3Bucket } from "./s3-bucket.ts";

/** A part is sent again for a quarter of an hour at most, so an upload without one for a day has ended. */
const STALE_MS = 24 * 60 * 60_000;
/** Of 1000 each; a bucket with more has a rule of its own, or needs one. */
const MOST_PAGES = 10;

/**
 * Uploads that a push which was killed left behind: the bucket pays for their parts, and shows them to nobody.
 * Only names that handpick makes count, and only where no part came for a day, from whichever machine. Our clock may
 * be wrong, so the day is counted back from the upload that the bucket began last, as a rule one of ours.
 */
export class StaleUploads implements AsyncDisposable {
  readonly #bucket: S3Bucket;
  readonly #closed = new AbortController();
  #sweeping: Promise<void> | undefined;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  /** Gives them up, once and beside everything else. */
  sweep(): void {
    this.#sweeping ??= this.#sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const bucket = this.#bucket;
    const request = { action: `clean up ${bucket.label}`, signal: this.#closed.signal };
    try {
      const uploads = await this.#list(request);
      const newest = Math.max(...uploads.map(({ Initiated }) => Initiated?.getTime() ?? 0));
      const isOld = (date: Date | undefined): boolean =>
        date !== undefined && newest - date.getTime() > STALE_MS;
      for (const { Key = "", UploadId, Initiated } of uploads) {
        const upload = { ...bucket.bucket(), Key, UploadId };
        if (!isOld(Initiated) || (await this.#isAlive(upload, { isOld, request }))) continue;
        await bucket.askOnce(request, (sdk, options) =>
          sdk.send(new AbortMultipartUploadCommand(upload), options),
        );
      }
    } catch (error) {
      // Not every policy and server lets us; the bucket's own rule removes them then.
      if (!(error instanceof HandpickError) && !this.#closed.signal.aborted) throw error;
    }
  }

  async #list(request: ObjectRequest): Promise<MultipartUpload[]> {
    const bucket = this.#bucket;
    const root = bucket.keyOf("");
    const uploads: MultipartUpload[] = [];
    let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const input = { ...bucket.bucket(), Prefix: `${root}nar/`, ...marker };
      const page = await bucket.askOnce(request, (sdk, options) =>
        sdk.send(new ListMultipartUploadsCommand(input), options),
      );
      for (const upload of page.Uploads ?? []) {
        const name = (upload.Key ?? "").slice(root.length);
        if (isUniqueName(name)) uploads.push(upload);
      }
      const { NextKeyMarker, NextUploadIdMarker } = page;
      if (page.IsTruncated !== true || NextKeyMarker === undefined) break;
      marker = {
        KeyMarker: NextKeyMarker,
        ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
      };
    }
    return uploads;
  }

  async #isAlive(
    upload: { Bucket: string; Key: string; UploadId: string | undefined },
    { isOld, request }: { isOld: (date: Date | undefined) => boolean; request: ObjectRequest },
  ): Promise<boolean> {
    let marker: { PartNumberMarker?: string } = {};
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const page = await this.#bucket.askOnce(request, (sdk, options) =>
        sdk.send(new ListPartsCommand({ ...upload, ...marker }), options),
      );
      if ((page.Parts ?? []).some(({ LastModified }) => !isOld(LastModified))) return true;
      if (page.IsTruncated !== true || page.NextPartNumberMarker === undefined) return false;
      marker = { PartNumberMarker: page.NextPartNumberMarker };
    }
    return true;
  }
}
