import type { Cache } from "../contract.ts";
import type { OpenCacheOptions } from "../kind.ts";
import { createLayoutCache } from "../layout/layout-cache.ts";
import { S3Bucket } from "./s3-bucket.ts";
import { S3Objects } from "./s3-objects.ts";
import { parseS3Url, readUrlOf } from "./s3-url.ts";

/** The least that S3 takes, but for the last part, and the most parts. */
const PARTS = {
  inOrder: false,
  minBytes: 5 << 20,
  maxParts: 10_000,
  md5: false,
  lifetimeMs: undefined,
} as const;

/**
 * Opens a cache that is a bucket; nothing is sent yet.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if the URL breaks a rule; `CONFIG_INVALID` or
 *   `FILE_UNUSABLE` if proxy or certificate file cannot be used.
 */
export function createS3Cache({
  url,
  name,
  storeDir,
  keys,
  abortMs,
  ...options
}: Omit<OpenCacheOptions, "host" | "token">): Cache {
  const label = `cache ${JSON.stringify(name)}`;
  const bucket = new S3Bucket({ ...options, abortMs, label, location: parseS3Url(url) });
  const objects = new S3Objects({ bucket, readUrl: readUrlOf(url) });
  return createLayoutCache({ name, storeDir, keys, abortMs, objects, parts: PARTS });
}
