import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
} from "@aws-sdk/client-s3";

import { HandpickError } from "../../error.ts";
import type { CacheDiagnosis } from "../contract.ts";
import type {
  LargeName,
  LargeObject,
  ListedPage,
  ObjectRequest,
  ObjectStore,
  StoredObject,
} from "../layout/object-store.ts";
import { diagnoseBucket } from "./diagnose-bucket.ts";
import { MultipartObject } from "./multipart-object.ts";
import { type Failed, isFailed, type S3Bucket } from "./s3-bucket.ts";
import { errorCodeOf } from "./s3-error.ts";
import { StaleUploads } from "./stale-uploads.ts";

/** Other writers may change an object while we look at it, but not for ever. */
const MOST_LOOKS = 5;

export interface S3ObjectsOptions {
  /** Closed with the store. */
  readonly bucket: S3Bucket;
  readonly readUrl: string;
}

/** The objects of a bucket, or of a folder in it. */
export class S3Objects implements ObjectStore {
  readonly readUrl: string;
  readonly #bucket: S3Bucket;
  readonly #stale: StaleUploads;
  /** False once the server showed that it knows no conditions. */
  #knowsConditions = true;

  constructor({ bucket, readUrl }: S3ObjectsOptions) {
    this.readUrl = readUrl;
    this.#bucket = bucket;
    this.#stale = new StaleUploads(bucket);
  }

  async get(name: string, request: ObjectRequest): Promise<Buffer | undefined> {
    return (await this.#read(name, request))?.bytes;
  }

  async put(object: StoredObject, request: ObjectRequest): Promise<void> {
    const outcome = await this.#write(object, request);
    if (isFailed(outcome)) throw this.#bucket.error(outcome.failed);
  }

  async putUnless(
    object: StoredObject,
    isEnough: (found: Buffer) => Promise<boolean>,
    request: ObjectRequest,
  ): Promise<boolean> {
    let condition: Condition = { IfNoneMatch: "*" };
    const mostLooks = this.#knowsConditions ? MOST_LOOKS : 0;
    for (let looks = 0; looks < mostLooks; looks++) {
      const outcome = await this.#write(object, request, condition);
      if (!isFailed(outcome)) return true;
      const { status } = outcome.failed;
      if (status === 400 || status === 501) {
        await this.put(object, request);
        this.#knowsConditions = false;
        return true;
      }
      // With If-Match, 404 says that somebody removed the object meanwhile.
      const isOvertaken = status === 412 || (status === 404 && condition.IfMatch !== undefined);
      if (!isOvertaken) throw this.#bucket.error(outcome.failed);
      const found = await this.#read(object.name, request);
      if (found !== undefined && (await isEnough(found.bytes))) return false;
      condition = found?.tag === undefined ? { IfNoneMatch: "*" } : { IfMatch: found.tag };
    }
    await this.put(object, request);
    return true;
  }

  async sizeOf(name: string, request: ObjectRequest): Promise<number | undefined> {
    const outcome = await this.#bucket.tryAsk(request, (sdk, options) =>
      sdk.send(new HeadObjectCommand(this.#bucket.object(name)), options),
    );
    if (!isFailed(outcome)) return outcome.ContentLength ?? NaN;
    if (outcome.failed.status === 404) return undefined;
    throw this.#bucket.error(outcome.failed);
  }

  startLarge(name: LargeName): LargeObject {
    return new MultipartObject({ bucket: this.#bucket, stale: this.#stale, name });
  }

  async *list(prefix: string, request: ObjectRequest): AsyncGenerator<ListedPage> {
    const bucket = this.#bucket;
    const root = bucket.keyOf("");
    const input = { ...bucket.bucket(), Prefix: root + prefix, Delimiter: "/" };
    let token: { ContinuationToken?: string } = {};
    for (;;) {
      const command = new ListObjectsV2Command({ ...input, ...token });
      const page: ListObjectsV2CommandOutput = await bucket.ask(request, (sdk, options) =>
        sdk.send(command, options),
      );
      const objects = (page.Contents ?? []).map(({ Key = "", Size = 0 }) => ({
        name: Key.slice(root.length),
        size: Size,
      }));
      const { NextContinuationToken } = page;
      yield { objects, isLast: NextContinuationToken === undefined };
      if (NextContinuationToken === undefined) return;
      token = { ContinuationToken: NextContinuationToken };
    }
  }

  async diagnose(signal: AbortSignal): Promise<CacheDiagnosis> {
    return await diagnoseBucket(this.#bucket, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stale[Symbol.asyncDispose]();
    this.#bucket[Symbol.dispose]();
  }

  async #read(name: string, request: ObjectRequest): Promise<ReadObject | undefined> {
    const bucket = this.#bucket;
    const outcome = await bucket.tryAsk(request, async (sdk, options) => {
      const output = await sdk.send(new GetObjectCommand(bucket.object(name)), options);
      const bytes = (await output.Body?.transformToByteArray()) ?? new Uint8Array();
      return { bytes: Buffer.from(bytes), tag: output.ETag };
    });
    if (!isFailed(outcome)) return outcome;
    const isAbsent =
      outcome.failed.status === 404 && errorCodeOf(outcome.failed) !== "NoSuchBucket";
    if (isAbsent) return undefined;
    throw bucket.error(outcome.failed);
  }

  async #write(
    { name, bytes, contentType }: StoredObject,
    request: ObjectRequest,
    condition: Condition = {},
  ): Promise<object | Failed> {
    const bucket = this.#bucket;
    const about = { ...bucket.object(name), ...bucket.storage(), ...condition };
    const input = { ...about, Body: bytes, ContentType: contentType };
    const outcome = await bucket.tryAsk(request, (sdk, options) =>
      sdk.send(new PutObjectCommand(input), options),
    );
    if (!isFailed(outcome) && outcome.ETag === undefined) throw withoutTag(name, request);
    return outcome;
  }
}

/** The SDK takes any success for one of S3, also that of a login page. */
function withoutTag(name: string, { action }: ObjectRequest): HandpickError {
  return new HandpickError(
    "CACHE_PROTOCOL",
    `Cannot ${action}: expected an ETag for ${name}, received none`,
    { hint: "Check that the endpoint is that of an S3 server." },
  );
}

interface ReadObject {
  readonly bytes: Buffer;
  readonly tag: string | undefined;
}

interface Condition {
  readonly IfNoneMatch?: string;
  readonly IfMatch?: string;
}
