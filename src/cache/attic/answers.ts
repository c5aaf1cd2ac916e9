import * as v from "valibot";

import { excerpt } from "../../http/excerpt.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import type { CacheInfo } from "../contract.ts";
import { listOf, objectOf, readAnswer, text, webUrl } from "../json-answer.ts";
import { FOREIGN_HINT } from "./attic-url.ts";

const ConfigSchema = objectOf({
  substituter_endpoint: webUrl,
  public_key: text(1024),
  is_public: v.boolean("true or false"),
  store_dir: v.pipe(text(4096), v.regex(/^\/[^\p{Cc}]*$/u, "the full name of a folder")),
  priority: v.pipe(v.number("a number"), v.integer("a whole number")),
});

const MissingSchema = objectOf({ missing_paths: listOf(text(1024)) });

const UploadedSchema = objectOf({
  kind: v.picklist(["Uploaded", "Deduplicated"], "Uploaded or Deduplicated"),
});

/**
 * Reads what the server says of a cache. The key is cut to one line of printable characters.
 *
 * @param ownUrl Where we would read the cache ourselves. The server makes the address that it announces from
 *   the name that it was called by, and knows no path that a proxy adds, so of the same host ours counts.
 * @throws {HandpickError} `CACHE_PROTOCOL` if the answer is not what the server documents.
 */
export function readConfig(response: HttpResponse, ownUrl: URL): Omit<CacheInfo, "writable"> {
  const config = readAnswer(ConfigSchema, response, FOREIGN_HINT);
  const announced = new URL(config.substituter_endpoint);
  const isForeign = announced.host !== ownUrl.host && !announced.username && !announced.password;
  return {
    readUrl: (isForeign ? announced : ownUrl).href.replace(/\/+$/, ""),
    storeDir: config.store_dir.replace(/(?<=.)\/+$/, ""),
    publicKeys: [excerpt(config.public_key)],
    isPublic: config.is_public,
    // The server compresses what it stores.
    preferredCompression: "none",
    priority: config.priority,
  };
}

/** @throws {HandpickError} `CACHE_PROTOCOL` if the answer has no list of hash parts. */
export function readMissing(response: HttpResponse): readonly string[] {
  return readAnswer(MissingSchema, response, FOREIGN_HINT).missing_paths;
}

/** @throws {HandpickError} `CACHE_PROTOCOL` if the answer does not say that the path is there now. */
export function assertUploaded(response: HttpResponse): void {
  readAnswer(UploadedSchema, response, FOREIGN_HINT);
}
