import { createHash } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";

import { Hono, type Context } from "hono";

import { systemCode } from "../files/system-code.ts";
import { printNixCacheInfo } from "../nix/cache-info.ts";
import { DEFAULT_STORE_DIR, parseHashPart } from "../nix/store-path.ts";
import { parseByteRange, type ByteRange } from "./byte-range.ts";
import { refusal } from "./refusal.ts";
import type { Storage } from "./storage.ts";

/** One more than cache.nixos.org has, which is therefore asked first. */
const PRIORITY = 41;
const CACHE_INFO = `${printNixCacheInfo({ storeDir: DEFAULT_STORE_DIR })}WantMassQuery: 1\nPriority: ${PRIORITY}\n`;
const NAR_INFO_FILE = /^([0-9a-z]{32})\.narinfo$/;
const NAR_FILE = /^([0-9a-f]{64})\.nar\.(?:zst|xz)$/;

/** Routes that Nix asks of a binary cache. HEAD is answered as GET without the body. */
export function readRoutes(storage: Storage): Hono {
  const routes = new Hono();
  routes.get("/nix-cache-info", (c) => answerText(c, CACHE_INFO, "text/x-nix-cache-info"));
  routes.get("/:file{[^/]+\\.narinfo}", async (c) => {
    const [, hash] = NAR_INFO_FILE.exec(c.req.param("file")) ?? [];
    const { signal } = c.req.raw;
    const text =
      hash === undefined ? hash : await storage.catalog.narInfo(parseHashPart(hash), signal);
    if (text === undefined) throw refusal(404, "There is no such path");
    return answerText(c, text, "text/x-nix-narinfo");
  });
  routes.get("/nar/:file", (c) => answerNar(c, storage.narDir));
  return routes;
}

function answerText(c: Context, text: string, contentType: string): Response {
  const etag = `"${createHash("sha256").update(text).digest("base64url")}"`;
  c.header("ETag", etag);
  if (hasETag(c.req.header("if-none-match"), etag)) return c.body(null, 304);
  c.header("Content-Type", contentType);
  c.header("Content-Length", String(Buffer.byteLength(text)));
  return c.body(text);
}

async function answerNar(c: Context, narDir: string): Promise<Response> {
  const [name, hash] = NAR_FILE.exec(c.req.param("file") ?? "") ?? [];
  const sizeBytes = name === undefined ? undefined : await sizeOf(join(narDir, name));
  if (name === undefined || sizeBytes === undefined) throw refusal(404, "There is no such NAR");
  const etag = `"${hash ?? ""}"`;
  c.header("ETag", etag);
  if (hasETag(c.req.header("if-none-match"), etag)) return c.body(null, 304);
  c.header("Accept-Ranges", "bytes");
  const isSame = (c.req.header("if-range") ?? etag) === etag;
  const range = parseByteRange(isSame ? c.req.header("range") : undefined, sizeBytes);
  if (range === "unsatisfiable") {
    c.header("Content-Range", `bytes */${sizeBytes}`);
    return c.text("The range lies outside the file", 416);
  }
  c.header("Content-Type", "application/x-nix-nar");
  if (range !== undefined) {
    c.status(206);
    c.header("Content-Range", `bytes ${range.start}-${range.end}/${sizeBytes}`);
  }
  return answerFile(c, join(narDir, name), range ?? { start: 0, end: sizeBytes - 1 });
}

function answerFile(c: Context, file: string, range: ByteRange): Response {
  c.header("Content-Length", String(range.end - range.start + 1));
  if (c.req.method === "HEAD") return c.body(null);
  return c.body(toWeb(createReadStream(file, { ...range })));
}

function toWeb(stream: ReadStream): ReadableStream<Uint8Array> {
  return Readable.toWeb(stream, { type: "bytes" });
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function hasETag(ifNoneMatch: string | undefined, etag: string): boolean {
  const listed = (ifNoneMatch ?? "").split(",").map((item) => item.trim().replace(/^W\//, ""));
  return listed.includes(etag) || listed.includes("*");
}
