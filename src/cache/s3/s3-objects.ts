import { HandpickError } from "../../error.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import type { CacheDiagnosis } from "../contract.ts";
import type {
  LargeName,
  LargeObject,
  ListedPage,
  ObjectRemoval,
  ObjectRequest,
  ObjectStore,
  StoredObject,
} from "../layout/object-store.ts";
import { diagnoseBucket } from "./diagnose-bucket.ts";
import { listPages } from "./list-pages.ts";
import { MultipartObject } from "./multipart-object.ts";
import { type Failed, isFailed, type S3Bucket } from "./s3-bucket.ts";
import { errorCodeOf } from "./s3-error.ts";
import { S3Removal } from "./s3-removal.ts";
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
  readonly removal: ObjectRemoval;
  readonly #bucket: S3Bucket;
  readonly #stale: StaleUploads;
  /** False once the server showed that it knows no conditions. */
  #knowsConditions = true;

  constructor({ bucket, readUrl }: S3ObjectsOptions) {
    this.readUrl = readUrl;
    this.removal = new S3Removal(bucket);
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
    let condition: Condition = { "if-none-match": "*" };
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
      const isOvertaken = status === 412 || (status === 404 && condition["if-match"] !== undefined);
      if (!isOvertaken) throw this.#bucket.error(outcome.failed);
      const found = await this.#read(object.name, request);
      if (found !== undefined && (await isEnough(found.bytes))) return false;
      condition = found?.tag === undefined ? { "if-none-match": "*" } : { "if-match": found.tag };
    }
    await this.put(object, request);
    return true;
  }

  async sizeOf(name: string, request: ObjectRequest): Promise<number | undefined> {
    const key = this.#bucket.keyOf(name);
    const outcome = await this.#bucket.tryCall({ method: "HEAD", key }, request);
    if (!isFailed(outcome)) return Number(outcome.headers["content-length"] ?? NaN);
    if (outcome.failed.status === 404) return undefined;
    throw this.#bucket.error(outcome.failed);
  }

  async readRange(
    name: string,
    [first, last]: readonly [first: number, last: number],
    request: ObjectRequest,
  ): Promise<Buffer | undefined> {
    return (await this.#read(name, request, { range: `bytes=${first}-${last}` }))?.bytes;
  }

  startLarge(name: LargeName): LargeObject {
    return new MultipartObject({ bucket: this.#bucket, stale: this.#stale, name });
  }

  async *list(prefix: string, request: ObjectRequest): AsyncGenerator<ListedPage> {
    const root = this.#bucket.keyOf("");
    for await (const page of listPages(this.#bucket, { prefix, Delimiter: "/" }, request)) {
      const objects = (page.Contents ?? []).map(({ Key = "", Size = 0 }) => ({
        name: Key.slice(root.length),
        size: Size,
      }));
      yield { objects, isLast: page.NextContinuationToken === undefined };
    }
  }

  async diagnose(signal: AbortSignal): Promise<CacheDiagnosis> {
    return await diagnoseBucket(this.#bucket, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stale[Symbol.asyncDispose]();
    this.#bucket[Symbol.dispose]();
  }

  async #read(
    name: string,
    request: ObjectRequest,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<ReadObject | undefined> {
    const bucket = this.#bucket;
    const call = { method: "GET", key: bucket.keyOf(name), headers } as const;
    const outcome = await bucket.tryCall(call, request);
    if (!isFailed(outcome)) return { bytes: outcome.body, tag: outcome.headers.etag };
    const isAbsent =
      outcome.failed.status === 404 && errorCodeOf(outcome.failed) !== "NoSuchBucket";
    if (isAbsent) return undefined;
    throw bucket.error(outcome.failed);
  }

  async #write(
    { name, bytes, contentType }: StoredObject,
    request: ObjectRequest,
    condition: Condition = {},
  ): Promise<HttpResponse | Failed> {
    const bucket = this.#bucket;
    const headers = { "content-type": contentType, ...bucket.storageHeaders(), ...condition };
    const call = { method: "PUT", key: bucket.keyOf(name), headers, body: bytes } as const;
    const outcome = await bucket.tryCall(call, request);
    if (!isFailed(outcome) && outcome.headers.etag === undefined) throw withoutTag(name, request);
    return outcome;
  }
}

/** A success without it is none of S3, but may be that of a login page. */
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

/** Headers of a PUT. */
type Condition = Readonly<Partial<Record<"if-none-match" | "if-match", string>>>;
