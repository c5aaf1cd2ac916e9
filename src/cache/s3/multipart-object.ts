import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";

import { HandpickError } from "../../error.ts";
import type { PackedFile, UploadPart } from "../contract.ts";
import type { LargeName, LargeObject, ObjectRequest } from "../layout/object-store.ts";
import { isFailed, type S3Bucket } from "./s3-bucket.ts";
import { errorCodeOf } from "./s3-error.ts";
import type { StaleUploads } from "./stale-uploads.ts";

export interface MultipartObjectOptions {
  readonly bucket: S3Bucket;
  /** Swept by a bucket's first upload. */
  readonly stale: StaleUploads;
  readonly name: LargeName;
}

/**
 * A NAR of several parts: a multipart upload, under a name that nothing else has.
 *
 *     create --> part* --> complete --> has its name
 *        \         |          |            |
 *         `------ abort ------´          delete      where it is given up
 */
export class MultipartObject implements LargeObject {
  readonly #bucket: S3Bucket;
  readonly #stale: StaleUploads;
  readonly #name: LargeName;
  readonly #parts = new Map<number, CompletedPart>();
  #uploadId: Promise<string> | undefined;
  /** True once `complete` was sent: the object may be there, whatever became of the answer. */
  #mayBeThere = false;
  #abortion: Promise<void> | undefined;

  constructor({ bucket, stale, name }: MultipartObjectOptions) {
    this.#bucket = bucket;
    this.#stale = stale;
    this.#name = name;
  }

  async put({ number, bytes }: UploadPart, request: ObjectRequest): Promise<void> {
    const upload = await this.#upload(request);
    const { ETag, ...checksums } = await this.#bucket.ask(request, (sdk, options) =>
      sdk.send(new UploadPartCommand({ ...upload, PartNumber: number, Body: bytes }), options),
    );
    if (ETag === undefined) {
      const message = `Cannot ${request.action}: expected an ETag for part ${number}, received none`;
      throw new HandpickError("CACHE_PROTOCOL", message);
    }
    const { ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME } = checksums;
    const sums = { ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME };
    this.#parts.set(number, { PartNumber: number, ETag, ...sums });
  }

  async finish({ fileSize }: PackedFile, request: ObjectRequest): Promise<string> {
    const upload = await this.#upload(request);
    const numbers = [...this.#parts.keys()].toSorted((a, b) => a - b);
    const Parts = numbers.flatMap((number) => this.#parts.get(number) ?? []);
    this.#mayBeThere = true;
    const outcome = await this.#bucket.tryAsk(request, (sdk, options) =>
      sdk.send(
        new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }),
        options,
      ),
    );
    if (isFailed(outcome)) {
      // Sent again after an answer that was lost, it finds no upload, but its object.
      const isDone =
        errorCodeOf(outcome.failed) === "NoSuchUpload" && (await this.#has(fileSize, request));
      if (!isDone) throw this.#bucket.error(outcome.failed);
    } else if (outcome.ETag === undefined && !(await this.#has(fileSize, request))) {
      const message = `Cannot ${request.action}: expected an ETag for the whole, received none`;
      throw new HandpickError("CACHE_PROTOCOL", message);
    }
    return this.#name.unique;
  }

  async abort(): Promise<void> {
    this.#abortion ??= this.#abort();
    await this.#abortion;
  }

  async #abort(): Promise<void> {
    if (this.#uploadId === undefined) return;
    const bucket = this.#bucket;
    const signal = AbortSignal.timeout(bucket.abortMs);
    const request = { action: `give up an upload to ${bucket.label}`, signal };
    const remove = async (): Promise<unknown> =>
      bucket.askOnce(request, (sdk, options) =>
        sdk.send(new DeleteObjectCommand(bucket.object(this.#name.unique)), options),
      );
    const give = async (): Promise<unknown> => {
      const upload = await this.#upload(request);
      return await bucket.askOnce(request, (sdk, options) =>
        sdk.send(new AbortMultipartUploadCommand(upload), options),
      );
    };
    // Nobody was told of the object. What stays is swept by a later push, or by the rule of the bucket.
    await Promise.allSettled([give(), this.#mayBeThere ? remove() : undefined]);
  }

  async #has(size: number, request: ObjectRequest): Promise<boolean> {
    const head = await this.#bucket.tryAsk(request, (sdk, options) =>
      sdk.send(new HeadObjectCommand(this.#bucket.object(this.#name.unique)), options),
    );
    return !isFailed(head) && head.ContentLength === size;
  }

  /** Starts the upload, once; after a failure again. */
  async #upload(request: ObjectRequest): Promise<UploadInput> {
    this.#uploadId ??= this.#create(request);
    try {
      return { ...this.#bucket.object(this.#name.unique), UploadId: await this.#uploadId };
    } catch (error) {
      this.#uploadId = undefined;
      throw error;
    }
  }

  async #create(request: ObjectRequest): Promise<string> {
    const bucket = this.#bucket;
    const about = { ...bucket.object(this.#name.unique), ...bucket.storage() };
    const input = { ...about, ContentType: this.#name.contentType };
    const { UploadId } = await bucket.ask(request, (sdk, options) =>
      sdk.send(new CreateMultipartUploadCommand(input), options),
    );
    this.#stale.sweep();
    if (UploadId !== undefined) return UploadId;
    const message = `Cannot ${request.action}: expected an UploadId, received none`;
    throw new HandpickError("CACHE_PROTOCOL", message);
  }
}

type UploadInput = ReturnType<S3Bucket["object"]> & { UploadId: string };
