import { createHash, randomUUID } from "node:crypto";

import { isHashPart, record, show, texts, wrongInFile, wrongInNarInfo } from "./cachix-checks.ts";
import type { Json } from "./cachix-checks.ts";
import type { RecordedRequest as Recorded, Reply } from "./scripted-servers.ts";

/** What a request is for; tests script and count by it. */
export type Operation =
  | "info"
  | "missing"
  | "begin"
  | "part-url"
  | "put"
  | "complete"
  | "abort"
  | "pin"
  | "list-pins"
  | "key"
  | "unknown";

export type RecordedRequest = Recorded<Operation>;

/** A narinfo that `complete` made, with the file it describes. */
export interface Published {
  readonly narInfo: Json;
  readonly compression: string;
  readonly file: Buffer;
}

export interface Pinned {
  readonly name: string;
  readonly storePath: string;
  readonly artifacts: readonly string[];
  readonly keep: unknown;
}

interface Part {
  readonly md5: string;
  readonly key: string;
  body?: Buffer;
  etag?: string;
}

interface FakeUpload {
  readonly uploadId: string;
  readonly compression: string;
  readonly parts: Map<number, Part>;
  state: "open" | "complete" | "aborted";
}

/** The state and the rules of the fake: requests in, replies out, no network. */
export class FakeService {
  readonly cacheName: string;
  token: string | undefined = "fake-token";
  permission: "Read" | "Write" | "Admin" = "Write";
  preferredCompressionMethod: unknown = "ZSTD";
  isPublic = true;
  /** Whether readers get no narinfo before its closure; otherwise they get each at once. */
  hidesIncompleteClosures = true;
  readonly publicSigningKeys: string[] = [];
  /** Hash parts that the cache's own upstream has. */
  readonly upstream: Set<string> = new Set();
  readonly published: Map<string, Published> = new Map();
  readonly pins: Pinned[] = [];
  readonly registeredKeys: string[] = [];
  /** What the client did against the rules; empty for a good one. */
  readonly violations: string[] = [];
  /** Origin of the storage, which is not that of the API. */
  storageUrl = "";
  apiUrl = "";
  readonly #uploads = new Map<string, FakeUpload>();

  constructor(cacheName: string) {
    this.cacheName = cacheName;
  }

  /** Uploads that are neither complete nor given up, by their id. */
  get openUploadIds(): string[] {
    return [...this.#uploads].flatMap(([id, { state }]) => (state === "open" ? [id] : []));
  }

  /** How many of those there are. */
  get openUploads(): number {
    return this.openUploadIds.length;
  }

  /** Whether readers get the narinfo: at once, or only once its whole closure is here or upstream. */
  isVisible(hashPart: string): boolean {
    return this.hidesIncompleteClosures
      ? this.isComplete(hashPart)
      : this.published.has(hashPart) || this.upstream.has(hashPart);
  }

  /** Whether a path and its whole closure are here or upstream. */
  isComplete(hashPart: string): boolean {
    const seen = new Set<string>();
    const queue = [hashPart];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (seen.has(next) || this.upstream.has(next)) continue;
      const found = this.published.get(next);
      if (found === undefined) return false;
      seen.add(next);
      queue.push(...texts(found.narInfo["cReferences"]).map((name) => name.slice(0, 32)));
    }
    return true;
  }

  handle(request: RecordedRequest): Reply {
    const url = new URL(request.target, "http://fake");
    if (request.operation === "put") return this.#put(request, url);
    this.#checkHeaders(request);
    const refusal = this.#authorize(request, url);
    if (refusal !== undefined) return refusal;
    return this.#answer(request, url);
  }

  #answer(request: RecordedRequest, url: URL): Reply {
    const [narId = ""] = url.pathname.split("/multipart-nar/")[1]?.split("/") ?? [];
    switch (request.operation) {
      case "info":
        return { status: 200, headers: this.#traits(), body: this.#info() };
      case "missing":
        return this.#missing(parse(request));
      case "begin":
        return this.#begin(url.searchParams.get("compression"));
      case "part-url":
        return this.#partUrl(narId, url, parse(request));
      case "complete":
        return this.#complete(narId, url, parse(request));
      case "abort":
        return this.#abort(narId, url);
      case "pin":
        return this.#pin(parse(request));
      case "list-pins":
        return { status: 200, body: this.#listPins() };
      case "key":
        this.registeredKeys.push(show(record(parse(request))["publicKey"]));
        return { status: 200 };
      case "put":
      case "unknown":
        return { status: 404, body: "No such route" };
    }
  }

  #violation(text: string): void {
    this.violations.push(text);
  }

  #checkHeaders({ operation, method, headers, body, target }: RecordedRequest): void {
    if (headers["user-agent"] === undefined) this.#violation(`${operation}: no user-agent`);
    if (method === "POST" && headers["content-length"] !== `${body.length}`) {
      this.#violation(`${operation}: content-length ${headers["content-length"]}`);
    }
    if (body.length > 0 && !headers["content-type"]?.startsWith("application/json")) {
      this.#violation(`${operation}: content-type ${headers["content-type"]}`);
    }
    if (operation === "unknown") this.#violation(`unknown request ${method} ${target}`);
  }

  #authorize({ operation, headers }: RecordedRequest, url: URL): Reply | undefined {
    const name = url.pathname.split("/")[4];
    const token = /^Bearer ?(.*)$/.exec(headers.authorization ?? "")?.[1] ?? "";
    const isRead = operation === "info" || operation === "missing" || operation === "list-pins";
    const isKnown = this.token === undefined || token === this.token;
    if (name !== this.cacheName || (token !== "" && !isKnown)) {
      return { status: 401, body: "The cache does not exist or you have no access to it." };
    }
    if (!isKnown && !(isRead && this.isPublic)) return { status: 401, body: "No token given." };
    if (!isRead && this.permission === "Read") {
      return { status: 403, body: "Your token may not write." };
    }
    return undefined;
  }

  #traits(): Record<string, string> {
    return this.hidesIncompleteClosures ? { "handpick-hides-incomplete-closures": "1" } : {};
  }

  #info(): object {
    return {
      name: this.cacheName,
      uri: `${this.apiUrl}/`,
      isPublic: this.isPublic,
      publicSigningKeys: this.publicSigningKeys,
      githubUsername: "",
      permission: this.permission,
      preferredCompressionMethod: this.preferredCompressionMethod,
    };
  }

  #missing(query: unknown): Reply {
    const asked = texts(query);
    const seen = new Set<string>();
    const repeated = asked.filter((hash) => seen.has(hash) || !seen.add(hash));
    if (asked.length === 0) this.#violation("missing: empty query");
    if (asked.length > 32_768) this.#violation(`missing: ${asked.length} hashes at once`);
    if (!asked.every(isHashPart)) this.#violation("missing: not a hash part");
    if (repeated.length > 0) this.#violation("missing: a hash was sent twice");
    const lacks = (hash: string): boolean => !this.published.has(hash) && !this.upstream.has(hash);
    // The service counts a repeated hash as missing though it is there (cachix issue 625).
    return { status: 200, body: [...[...seen].filter(lacks), ...repeated] };
  }

  #begin(compression: string | null): Reply {
    if (compression !== "zst" && compression !== "xz") {
      this.#violation(`begin: compression ${compression}`);
      return { status: 400, body: "Unknown compression." };
    }
    const narId = randomUUID();
    // Characters that must be encoded in a query, as the real ones are opaque and have them.
    const uploadId = `AB+c/d=&${randomUUID()}`;
    this.#uploads.set(narId, { uploadId, compression, parts: new Map(), state: "open" });
    return { status: 200, body: { narId, uploadId } };
  }

  #openUpload(narId: string, url: URL): FakeUpload | undefined {
    const upload = this.#uploads.get(narId);
    const isRight = upload !== undefined && upload.uploadId === url.searchParams.get("uploadId");
    if (!isRight) this.#violation(`wrong upload ${narId}`);
    return isRight ? upload : undefined;
  }

  #partUrl(narId: string, url: URL, body: unknown): Reply {
    const upload = this.#openUpload(narId, url);
    const number = Number(url.searchParams.get("partNumber"));
    const md5 = show(record(body)["contentMD5"]);
    if (!/^[0-9A-Za-z+/]{22}==$/.test(md5)) this.#violation(`part-url: contentMD5 ${md5}`);
    if (!Number.isInteger(number) || number < 1) this.#violation(`part-url: part ${number}`);
    if (upload?.state !== "open") return { status: 404, body: "No such upload." };
    const key = randomUUID();
    upload.parts.set(number, { md5, key });
    const query = `partNumber=${number}&X-Amz-Expires=300&X-Amz-Signature=${key}`;
    return { status: 200, body: { uploadUrl: `${this.storageUrl}/bucket/${narId}?${query}` } };
  }

  #put({ headers, body, method }: RecordedRequest, url: URL): Reply {
    const upload = this.#uploads.get(url.pathname.split("/")[2] ?? "");
    const part = upload?.parts.get(Number(url.searchParams.get("partNumber")));
    const error = (status: number, code: string, violation?: string): Reply => {
      if (violation !== undefined) this.#violation(`put: ${violation}`);
      return { status, body: `<?xml version="1.0"?><Error><Code>${code}</Code></Error>` };
    };
    if (headers.authorization !== undefined) return error(400, "InvalidArgument", "authorization");
    if (method !== "PUT" || upload?.state !== "open" || part === undefined) {
      return error(404, "NoSuchUpload");
    }
    if (part.key !== url.searchParams.get("X-Amz-Signature")) return error(403, "AccessDenied");
    const md5 = show(headers["content-md5"]);
    if (md5 !== part.md5) return error(403, "SignatureDoesNotMatch", `content-md5 ${md5}`);
    if (headers["content-length"] !== `${body.length}`) return error(411, "Length", "no length");
    const digest = createHash("md5").update(body).digest();
    if (digest.toString("base64") !== md5) return error(400, "BadDigest", "body and MD5 differ");
    part.body = body;
    part.etag = `"${digest.toString("hex")}"`;
    return { status: 200, headers: { etag: part.etag } };
  }

  #complete(narId: string, url: URL, body: unknown): Reply {
    const upload = this.#openUpload(narId, url);
    if (upload === undefined || upload.state === "aborted") return { status: 404, body: "Gone." };
    const { parts, narInfoCreate } = record(body);
    const narInfo = record(narInfoCreate);
    const before = this.violations.length;
    const file = this.#assemble(upload, parts);
    const wrong = [
      ...wrongInNarInfo(narInfo, this.registeredKeys),
      ...wrongInFile(narInfo, file, upload.compression),
    ];
    for (const what of wrong) this.#violation(`complete: ${what}`);
    if (this.violations.length > before) return { status: 400, body: "The upload is not right." };
    // Repeating a completed one is no error, as answers get lost.
    upload.state = "complete";
    const { compression } = upload;
    this.published.set(show(narInfo["cStoreHash"]), { narInfo, compression, file });
    return { status: 200 };
  }

  #assemble(upload: FakeUpload, listed: unknown): Buffer {
    const parts = Array.isArray(listed) ? listed.map(record) : [];
    if (parts.length === 0) this.#violation("complete: no parts");
    const chunks = parts.map(({ partNumber, eTag }, index) => {
      if (partNumber !== index + 1) this.#violation(`complete: part ${show(partNumber)}`);
      const part = upload.parts.get(Number(partNumber));
      if (part?.etag === undefined || part.etag !== eTag) {
        this.#violation(`complete: eTag ${show(eTag)}`);
      }
      return part?.body ?? Buffer.alloc(0);
    });
    return Buffer.concat(chunks);
  }

  #abort(narId: string, url: URL): Reply {
    const upload = this.#openUpload(narId, url);
    if (upload?.state !== "open") return { status: 404, body: "No such upload." };
    upload.state = "aborted";
    return { status: 200 };
  }

  #pin(body: unknown): Reply {
    const { name, storePath, artifacts, keep, ...rest } = record(body);
    const path = show(storePath);
    if (Object.keys(rest).length > 0) this.#violation(`pin: keys ${Object.keys(rest).join()}`);
    if (!path.startsWith("/nix/store/")) this.#violation(`pin: storePath ${path}`);
    if (!this.published.has(path.slice(11, 43))) return { status: 404, body: "No such path." };
    this.pins.push({ name: show(name), storePath: path, artifacts: texts(artifacts), keep });
    return { status: 200 };
  }

  #listPins(): object[] {
    const last = new Map(this.pins.map((pin) => [pin.name, pin]));
    return [...last.values()].map(({ name, storePath, keep }) => ({
      name,
      keep,
      lastRevision: { storePath },
    }));
  }
}

function parse({ body }: RecordedRequest): unknown {
  return JSON.parse(body.toString());
}
