import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";

import { encodeBase32 } from "../src/nix/base32.ts";
import { sha256FromDigest } from "../src/nix/hash.ts";
import { NAR_MAGIC, narFileHead, narFileTail } from "../src/nix/nar-encode.ts";
import {
  baseNameOf,
  fromBaseName,
  hashPartOf,
  nameOf,
  type StorePath,
} from "../src/nix/store-path.ts";
import {
  type RunningServer,
  type ServeHooks,
  type ServeOptions,
  startServer,
} from "../src/serve/server.ts";

/** A folder that is gone after the test. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), "hp-serve-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A real server of a cache named "acme" in a folder of its own. */
export interface TestServer extends AsyncDisposable {
  readonly server: RunningServer;
  readonly dir: string;
  /** With the token. */
  readonly client: ServeClient;
  /** Without. */
  readonly anonymous: ServeClient;
  /** The log of the server. */
  readonly lines: string[];
}

/** Starts a server; its folder is removed with it unless one is given. */
export async function startTestServer(
  options: Partial<ServeOptions> = {},
  hooks: ServeHooks = {},
): Promise<TestServer> {
  await using cleanup = new AsyncDisposableStack();
  const dir = options.dir ?? cleanup.use(await temporaryFolder()).path;
  const lines: string[] = [];
  const log = (line: string): unknown => lines.push(line);
  const basics = { dir, host: "127.0.0.1", port: 0, name: "acme", isPrivate: false, log };
  const server = cleanup.use(await startServer({ ...basics, ...options }, hooks));
  const token = (await readFile(server.tokenFile, "utf8")).trim();
  const resources = cleanup.move();
  return {
    server,
    dir,
    client: new ServeClient(server.url, "acme", token),
    anonymous: new ServeClient(server.url, "acme", undefined),
    lines,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A store path together with what a client sends for it. */
export interface Sample {
  readonly storePath: StorePath;
  readonly nar: Buffer;
  readonly file: Buffer;
  readonly compression: "zst" | "xz";
  readonly narInfoCreate: Record<string, unknown>;
}

export interface SampleOptions {
  readonly contents?: string | Uint8Array;
  readonly references?: readonly StorePath[];
  readonly compression?: "zst" | "xz";
  readonly deriver?: string;
}

/** The NAR of one plain file. */
export function fileNar(contents: string | Uint8Array): Buffer {
  const bytes = Buffer.from(contents);
  return Buffer.concat([
    NAR_MAGIC,
    narFileHead(bytes.length, false),
    bytes,
    narFileTail(bytes.length),
  ]);
}

/** A store path that nobody built, always the same for a name. */
export function samplePath(name: string): StorePath {
  const hash = encodeBase32(createHash("sha256").update(name).digest().subarray(0, 20));
  return fromBaseName(`${hash}-${name}`);
}

export function sample(name: string, options: SampleOptions = {}): Sample {
  return sampleOf(samplePath(name), fileNar(options.contents ?? `contents of ${name}\n`), options);
}

/** Makes the upload of a path with this NAR. */
export function sampleOf(
  storePath: StorePath,
  nar: Buffer,
  { references = [], compression = "zst", deriver = "unknown-deriver" }: SampleOptions = {},
): Sample {
  const file = compression === "zst" ? zstdCompressSync(nar) : compressXz(nar);
  const sha256 = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest();
  return {
    storePath,
    nar,
    file,
    compression,
    narInfoCreate: {
      cStoreHash: hashPartOf(storePath),
      cStoreSuffix: nameOf(storePath),
      cNarHash: sha256FromDigest(sha256(nar)),
      cNarSize: nar.length,
      cFileHash: sha256(file).toString("hex"),
      cFileSize: file.length,
      cReferences: references.map(baseNameOf).toSorted(),
      cDeriver: deriver,
      cSig: null,
    },
  };
}

export function md5Of(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}

export interface StartedUpload {
  readonly narId: string;
  readonly uploadId: string;
}

export interface Part {
  readonly partNumber: number;
  readonly eTag: string;
}

/** Makes the API calls of a client by hand, one method a call. */
export class ServeClient {
  readonly url: string;
  readonly api: string;
  readonly token: string | undefined;

  constructor(url: string, cacheName: string, token: string | undefined) {
    this.url = url;
    this.api = `${url}/api/v1/cache/${cacheName}`;
    this.token = token;
  }

  async get(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== undefined) headers.set("authorization", `Bearer ${this.token}`);
    return fetch(this.api + path, { ...init, headers });
  }

  async post(path: string, body?: unknown): Promise<Response> {
    return this.get(path, {
      method: "POST",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async begin(compression: string = "zst"): Promise<StartedUpload> {
    const response = await this.post(`/multipart-nar?compression=${compression}`);
    return JSON.parse(await expectOk(response));
  }

  async partUrl(upload: StartedUpload, partNumber: number, md5: string): Promise<string> {
    const query = `uploadId=${encodeURIComponent(upload.uploadId)}&partNumber=${partNumber}`;
    const response = await this.post(`/multipart-nar/${upload.narId}?${query}`, {
      contentMD5: md5,
    });
    return JSON.parse(await expectOk(response)).uploadUrl;
  }

  async putPart(upload: StartedUpload, partNumber: number, bytes: Uint8Array): Promise<Part> {
    const md5 = md5Of(bytes);
    const url = await this.partUrl(upload, partNumber, md5);
    const response = await fetch(url, {
      method: "PUT",
      body: new Uint8Array(bytes),
      headers: { "content-md5": md5, "content-type": "application/octet-stream" },
    });
    await expectOk(response);
    return { partNumber, eTag: response.headers.get("etag") ?? "" };
  }

  async complete(upload: StartedUpload, parts: unknown, narInfoCreate: unknown): Promise<Response> {
    const query = `uploadId=${encodeURIComponent(upload.uploadId)}`;
    return this.post(`/multipart-nar/${upload.narId}/complete?${query}`, { parts, narInfoCreate });
  }

  async abort(upload: StartedUpload): Promise<Response> {
    const query = `uploadId=${encodeURIComponent(upload.uploadId)}`;
    return this.post(`/multipart-nar/${upload.narId}/abort?${query}`);
  }

  /** Uploads in parts of at most `partSize` bytes, without completing. */
  async upload(
    { file, compression }: Sample,
    partSize: number = file.length,
  ): Promise<{ readonly started: StartedUpload; readonly parts: Part[] }> {
    const started = await this.begin(compression);
    const parts: Part[] = [];
    for (let offset = 0; offset < file.length; offset += partSize) {
      const bytes = file.subarray(offset, offset + partSize);
      parts.push(await this.putPart(started, parts.length + 1, bytes));
    }
    return { started, parts };
  }

  async push(pushed: Sample, partSize?: number): Promise<void> {
    const { started, parts } = await this.upload(pushed, partSize);
    await expectOk(await this.complete(started, parts, pushed.narInfoCreate));
  }

  async missing(hashParts: readonly string[]): Promise<string[]> {
    return JSON.parse(await expectOk(await this.post("/narinfo", hashParts)));
  }

  /** Status and text of a path's narinfo as Nix asks for it. */
  async narInfo(storePath: StorePath): Promise<{ readonly status: number; readonly text: string }> {
    const headers: Record<string, string> =
      this.token === undefined ? {} : { authorization: `Bearer ${this.token}` };
    const response = await fetch(`${this.url}/${hashPartOf(storePath)}.narinfo`, { headers });
    return { status: response.status, text: await response.text() };
  }
}

async function expectOk(response: Response): Promise<string> {
  const body = await response.text();
  if (response.status !== 200)
    throw new Error(`Expected 200, received ${response.status}: ${body}`);
  return body;
}

function compressXz(bytes: Buffer): Buffer {
  const { status, stdout } = spawnSync("xz", ["--compress", "--stdout", "-1"], {
    input: bytes,
    maxBuffer: 2 ** 30,
  });
  if (status !== 0) throw new Error("Cannot compress with xz");
  return stdout;
}
