import { createHash, randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { bodyOf } from "../http-rig.ts";
import { signatureFault, type Signer } from "./s3-signature.ts";

export type S3Operation =
  | "GetObject"
  | "HeadObject"
  | "PutObject"
  | "DeleteObject"
  | "ListObjectsV2"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "ListMultipartUploads"
  | "ListParts";

/** An answer in place of the right one. */
export interface S3Fault {
  readonly operation: S3Operation;
  /** @default {500} */
  readonly status?: number;
  readonly code?: string;
  /** More elements of the error. */
  readonly more?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The whole body, in place of an error. */
  readonly body?: string;
  /** Does what was asked, and closes the connection without an answer. */
  readonly isLost?: boolean;
  /** Waits with the answer. */
  readonly until?: Promise<unknown>;
}

export interface S3Record {
  readonly operation: S3Operation;
  readonly name: string;
  readonly headers: IncomingMessage["headers"];
}

interface StoredS3Object {
  readonly bytes: Buffer;
  /** @default {the beginning of 1970} */
  readonly modifiedMs?: number;
  readonly headers: IncomingMessage["headers"];
}

interface S3Upload {
  readonly name: string;
  readonly initiatedMs: number;
  readonly parts: Map<number, { readonly bytes: Buffer; readonly modifiedMs: number }>;
}

/** A strict stand-in: it checks signatures, bodies, clocks and parts, and fails where it is told to. */
export interface FakeS3 extends AsyncDisposable {
  /** URL of the cache. */
  readonly url: string;
  readonly requests: S3Record[];
  readonly objects: Map<string, StoredS3Object>;
  readonly uploads: Map<string, S3Upload>;
  /** Used up in order, each by the first request of its operation. */
  readonly faults: S3Fault[];
  /** The keys that it knows. */
  signers: readonly Signer[];
  /** Added to the clock of the server. */
  skewMs: number;
  /** False for a server that never heard of If-None-Match at a PUT. */
  knowsConditions: boolean;
  /** Names in a page of a list. */
  pageSize: number;
  /** The least that a part may have, but the last, in bytes. */
  leastPart: number;
  countOf(operation: S3Operation): number;
  /** Resolves with the next request of an operation, once it has arrived whole. */
  next(operation: S3Operation): Promise<void>;
}

export const FAKE_SIGNER: Signer = {
  accessKey: "AKIAFAKE",
  secretKey: "secret-of-the-fake",
  region: "us-east-1",
};
const BUCKET = "bucket";

class FakeS3Server implements FakeS3 {
  url = "";
  readonly requests: S3Record[] = [];
  readonly objects = new Map<string, StoredS3Object>();
  readonly uploads = new Map<string, S3Upload>();
  readonly faults: S3Fault[] = [];
  signers: readonly Signer[] = [FAKE_SIGNER];
  skewMs = 0;
  knowsConditions = true;
  pageSize = 1000;
  leastPart = 5 << 20;
  readonly #arrivals = new EventEmitter();
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  async listen(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo;
    this.url = `s3://${BUCKET}?endpoint=127.0.0.1:${port}&scheme=http`;
    return this;
  }

  get nowMs(): number {
    return Date.now() + this.skewMs;
  }

  countOf(operation: S3Operation): number {
    return this.requests.filter((request) => request.operation === operation).length;
  }

  async next(operation: S3Operation): Promise<void> {
    await once(this.#arrivals, operation);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request).catch(() => undefined);
    if (body === undefined) return; // the client went away within it
    const url = new URL(request.url ?? "", "http://fake");
    const [, bucket, ...names] = url.pathname.split("/").map(decodeURIComponent);
    const call = new Call({ fake: this, request, response, body, url, name: names.join("/") });
    this.requests.push({ operation: call.operation, name: call.name, headers: request.headers });
    this.#arrivals.emit(call.operation);
    response.setHeader("date", new Date(this.nowMs).toUTCString());
    const signing = { signers: this.signers, nowMs: this.nowMs };
    const fault = signatureFault(request, body, signing);
    if (fault !== undefined) return call.refuse(403, fault);
    if (bucket !== BUCKET) return call.refuse(404, "NoSuchBucket");
    const index = this.faults.findIndex(({ operation }) => operation === call.operation);
    const [planned] = index === -1 ? [] : this.faults.splice(index, 1);
    await planned?.until;
    if (planned?.isLost === true) {
      call.silently();
      return void request.socket.destroy();
    }
    if (planned === undefined || planned.until !== undefined) return call.run();
    response.setHeaders(new Headers(planned.headers ?? {}));
    if (planned.body !== undefined) {
      return void response.writeHead(planned.status ?? 500).end(planned.body);
    }
    call.refuse(planned.status ?? 500, planned.code ?? "InternalError", planned.more);
  }
}

interface CallOptions {
  readonly fake: FakeS3Server;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: Buffer;
  readonly url: URL;
  readonly name: string;
}

class Call {
  readonly operation: S3Operation;
  readonly name: string;
  readonly #options: CallOptions;
  #isSilent = false;

  constructor(options: CallOptions) {
    this.#options = options;
    this.name = options.name;
    this.operation = operationOf(options.request.method ?? "", options.url, options.name);
  }

  silently(): void {
    this.#isSilent = true;
    this.run();
  }

  run(): void {
    const { fake, body, request } = this.#options;
    const { objects, uploads } = fake;
    const found = objects.get(this.name);
    switch (this.operation) {
      case "GetObject":
      case "HeadObject": {
        if (found === undefined) return this.refuse(404, "NoSuchKey");
        const headers = {
          etag: tagOf(found.bytes),
          "content-length": `${found.bytes.length}`,
          "last-modified": new Date(found.modifiedMs ?? 0).toUTCString(),
        };
        return this.#reply(headers, this.operation === "HeadObject" ? "" : found.bytes);
      }
      case "PutObject": {
        const fault = this.#conditionFault(found);
        if (fault !== undefined) return this.refuse(...fault);
        const modifiedMs = fake.nowMs;
        objects.set(this.name, { bytes: body, modifiedMs, headers: request.headers });
        return this.#reply({ etag: tagOf(body) });
      }
      case "DeleteObject": {
        const fault = this.#conditionFault(found);
        if (fault !== undefined) return this.refuse(...fault);
        objects.delete(this.name);
        return this.#reply({}, "", 204);
      }
      case "ListObjectsV2":
        return this.#list();
      case "CreateMultipartUpload": {
        const made = randomUUID();
        uploads.set(made, { name: this.name, initiatedMs: fake.nowMs, parts: new Map() });
        return this.#reply(
          {},
          xml("InitiateMultipartUploadResult", `<UploadId>${made}</UploadId>`),
        );
      }
      case "ListMultipartUploads":
        return this.#listUploads();
      case "UploadPart":
      case "CompleteMultipartUpload":
      case "AbortMultipartUpload":
      case "ListParts":
        return this.#runOnUpload();
    }
  }

  #runOnUpload(): void {
    const { fake, url, body } = this.#options;
    const id = url.searchParams.get("uploadId") ?? "";
    const upload = fake.uploads.get(id);
    if (upload === undefined || upload.name !== this.name) return this.refuse(404, "NoSuchUpload");
    if (this.operation === "UploadPart") {
      const part = { bytes: body, modifiedMs: fake.nowMs };
      upload.parts.set(Number(url.searchParams.get("partNumber")), part);
      return this.#reply({ etag: tagOf(body) });
    }
    if (this.operation === "ListParts") return this.#listParts(upload);
    if (this.operation === "CompleteMultipartUpload") return this.#complete(id, upload);
    fake.uploads.delete(id);
    this.#reply({}, "", 204);
  }

  refuse(status: number, code: string, more = ""): void {
    const { url } = this.#options;
    const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code} of ${url.pathname}</Message>${more}</Error>`;
    this.#reply({}, this.operation === "HeadObject" ? "" : body, status);
  }

  /** As AWS does: an object that is there fails If-None-Match, and one that is not, or is another, If-Match. */
  #conditionFault(found: StoredS3Object | undefined): [number, string] | undefined {
    const { fake, request } = this.#options;
    const { "if-none-match": none, "if-match": match } = request.headers;
    if (none === undefined && match === undefined) return undefined;
    if (!fake.knowsConditions) return [501, "NotImplemented"];
    if (match !== undefined && found === undefined) return [404, "NoSuchKey"];
    const holds = none === undefined ? found && tagOf(found.bytes) === match : found === undefined;
    return holds === true ? undefined : [412, "PreconditionFailed"];
  }

  #complete(id: string, { parts }: S3Upload): void {
    const { fake, body, request } = this.#options;
    const listed = [...body.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = ""]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
      tag: /<ETag>(.*?)<\/ETag>/.exec(part)?.[1]?.replaceAll("&quot;", '"'),
    }));
    const bytes: Buffer[] = [];
    for (const [index, { number, tag }] of listed.entries()) {
      const part = parts.get(number);
      if (part === undefined || tagOf(part.bytes) !== tag) return this.refuse(400, "InvalidPart");
      if (index > 0 && number <= (listed[index - 1]?.number ?? 0)) {
        return this.refuse(400, "InvalidPartOrder");
      }
      if (index < listed.length - 1 && part.bytes.length < fake.leastPart) {
        return this.refuse(400, "EntityTooSmall");
      }
      bytes.push(part.bytes);
    }
    if (bytes.length === 0) return this.refuse(400, "MalformedXML");
    fake.uploads.delete(id);
    fake.objects.set(this.name, { bytes: Buffer.concat(bytes), headers: request.headers });
    this.#reply({}, xml("CompleteMultipartUploadResult", "<ETag>whole</ETag>"));
  }

  #list(): void {
    const { fake, url } = this.#options;
    const prefix = url.searchParams.get("prefix") ?? "";
    const start = url.searchParams.get("continuation-token") ?? url.searchParams.get("start-after");
    const delimiter = url.searchParams.get("delimiter");
    const isBelow = (name: string): boolean =>
      delimiter !== null && name.slice(prefix.length).includes(delimiter);
    const names = [...fake.objects.keys()]
      .filter((name) => name.startsWith(prefix) && name > (start ?? "") && !isBelow(name))
      .toSorted();
    const page = names.slice(0, fake.pageSize);
    const contents = page.map((name) => {
      const { bytes = Buffer.alloc(0), modifiedMs = 0 } = fake.objects.get(name) ?? {};
      const tag = `<ETag>${tagOf(bytes).replaceAll('"', "&quot;")}</ETag>`;
      const time = `<LastModified>${new Date(modifiedMs).toISOString()}</LastModified>`;
      return `<Contents><Key>${name}</Key>${time}${tag}<Size>${bytes.length}</Size></Contents>`;
    });
    const isCut = names.length > page.length;
    const next = isCut ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
    const more = `<IsTruncated>${isCut}</IsTruncated>${next}`;
    this.#reply({}, xml("ListBucketResult", contents.join("") + more));
  }

  #listUploads(): void {
    const { fake, url } = this.#options;
    const prefix = url.searchParams.get("prefix") ?? "";
    const uploads = [...fake.uploads].filter(([, { name }]) => name.startsWith(prefix));
    const texts = uploads.map(
      ([id, { name, initiatedMs }]) =>
        `<Upload><Key>${name}</Key><UploadId>${id}</UploadId><Initiated>${new Date(initiatedMs).toISOString()}</Initiated></Upload>`,
    );
    this.#reply({}, xml("ListMultipartUploadsResult", texts.join("")));
  }

  #listParts({ parts }: S3Upload): void {
    const texts = [...parts].map(
      ([number, { modifiedMs }]) =>
        `<Part><PartNumber>${number}</PartNumber><LastModified>${new Date(modifiedMs).toISOString()}</LastModified></Part>`,
    );
    this.#reply({}, xml("ListPartsResult", texts.join("")));
  }

  #reply(headers: Record<string, string>, body: string | Buffer = "", status = 200): void {
    if (!this.#isSilent) this.#options.response.writeHead(status, headers).end(body);
  }
}

/** What a request is for; `name` is that of the object, empty for the bucket itself. */
export function operationOf(method: string, { searchParams }: URL, name: string): S3Operation {
  const isOfUpload = searchParams.has("uploadId");
  switch (method) {
    case "GET":
      if (searchParams.has("uploads")) return "ListMultipartUploads";
      if (name === "") return "ListObjectsV2";
      return isOfUpload ? "ListParts" : "GetObject";
    case "HEAD":
      return "HeadObject";
    case "PUT":
      return isOfUpload ? "UploadPart" : "PutObject";
    case "POST":
      return isOfUpload ? "CompleteMultipartUpload" : "CreateMultipartUpload";
    default:
      return isOfUpload ? "AbortMultipartUpload" : "DeleteObject";
  }
}

function xml(name: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><${name}>${content}</${name}>`;
}

function tagOf(bytes: Buffer): string {
  return `"${createHash("md5").update(bytes).digest("hex")}"`;
}

/** Starts a server with one empty bucket. */
export async function startFakeS3(): Promise<FakeS3> {
  return await new FakeS3Server().listen();
}
