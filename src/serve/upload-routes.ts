import { Hono } from "hono";
import * as v from "valibot";

import type { AppOptions } from "./app-options.ts";
import type { FileCompression } from "./check-nar.ts";
import { completeRequestSchema, MOST_PARTS } from "./complete-request.ts";
import type { ServeEnv } from "./exchanges.ts";
import { checkPartUrl, PART_URL_LIFETIME_MS, signPartUrl } from "./part-url.ts";
import { refusal } from "./refusal.ts";
import { readBody, readJson, type TakeChunk } from "./request-body.ts";
import type { Storage } from "./storage.ts";

const LARGEST_PART_BYTES = 5 * 1024 ** 3;
/** Room for 10 000 parts and as many references as a narinfo may have. */
const LARGEST_COMPLETE_BYTES = 8 * 1024 ** 2;
const PART_NUMBER = /^[1-9]\d{0,4}$/;
/** Base64 of 16 bytes in its one spelling: the last digit has four bits to spare. */
const MD5 = /^[0-9A-Za-z+/]{21}[AQgw]==$/;

const announcementSchema = v.object({ contentMD5: v.pipe(v.string(), v.regex(MD5)) });

/** The calls by which a client sends a NAR in, except for the parts themselves. */
export function uploadRoutes(storage: Storage, options: AppOptions): Hono<ServeEnv> {
  const { uploads } = storage;
  const routes = new Hono<ServeEnv>();
  routes.post("/", async (c) => {
    const { narId, uploadId } = await uploads.begin(
      parseCompression(c.req.query("compression")),
      options.now(),
    );
    return c.json({ narId, uploadId });
  });
  routes.post("/:narId", async (c) => {
    const partNumber = parsePartNumber(c.req.query("partNumber"));
    const upload = uploads.get(c.req.param("narId"), c.req.query("uploadId") ?? "");
    if (upload.isDone) throw refusal(404, "The upload is over");
    const { contentMD5 } = await readJson(c.env.incoming, announcementSchema, options);
    const address = { ...upload, partNumber, md5: contentMD5 };
    const expires = options.now() + PART_URL_LIFETIME_MS;
    const url = signPartUrl(address, expires, storage.partUrlKey);
    return c.json({ uploadUrl: options.baseUrl(c.req.header("host")) + url });
  });
  routes.post("/:narId/complete", async (c) => {
    const upload = uploads.get(c.req.param("narId"), c.req.query("uploadId") ?? "");
    const request = await readJson(c.env.incoming, completeRequestSchema, {
      ...options,
      maxBytes: LARGEST_COMPLETE_BYTES,
    });
    await uploads.complete(upload, request, options.signal);
    return c.body(null);
  });
  routes.post("/:narId/abort", async (c) => {
    await uploads.abort(uploads.get(c.req.param("narId"), c.req.query("uploadId") ?? ""));
    return c.body(null);
  });
  return routes;
}

/**
 * The target of part URLs. As with the storage services that the real cache hands its clients to,
 * the URL alone is the permission, and an Authorization header beside it is an error.
 */
export function partRoute(storage: Storage, options: AppOptions): Hono<ServeEnv> {
  const routes = new Hono<ServeEnv>();
  routes.put("/upload/:narId/:partNumber", async (c) => {
    if (c.req.header("authorization") !== undefined) {
      throw refusal(400, "A part URL is not to be used with an Authorization header");
    }
    const address = {
      narId: c.req.param("narId"),
      uploadId: c.req.query("uploadId") ?? "",
      partNumber: parsePartNumber(c.req.param("partNumber")),
      md5: c.req.query("md5") ?? "",
      expires: Number(c.req.query("expires")),
      signature: c.req.query("signature") ?? "",
    };
    if (!checkPartUrl(address, options.now(), storage.partUrlKey)) {
      throw refusal(403, "The part URL is not valid or has expired");
    }
    if (c.req.header("content-md5") !== address.md5) {
      throw refusal(403, "The Content-MD5 header is not the one the URL was asked for");
    }
    const upload = storage.uploads.get(address.narId, address.uploadId);
    const limits = { maxBytes: LARGEST_PART_BYTES, idleMs: options.idleMs };
    const part = {
      number: address.partNumber,
      md5: address.md5,
      read: (take: TakeChunk) => readBody(c.env.incoming, limits, take),
    };
    c.header("ETag", await storage.uploads.putPart(upload, part, options.now()));
    return c.body(null);
  });
  return routes;
}

function parseCompression(text: string | undefined): FileCompression {
  if (text === "zst" || text === "xz") return text;
  throw refusal(400, "The compression has to be zst or xz");
}

function parsePartNumber(text: string | undefined): number {
  const number = PART_NUMBER.test(text ?? "") ? Number(text) : 0;
  if (number === 0 || number > MOST_PARTS) {
    throw refusal(400, `The part number has to be from 1 to ${MOST_PARTS}`);
  }
  return number;
}
