import * as v from "valibot";

import { DEFAULT_STORE_DIR } from "../../nix/store-path.ts";
import type { CacheInfo } from "../contract.ts";
import { excerpt } from "../../http/excerpt.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { listOf, objectOf, readAnswer, text, unexpectedAnswer, webUrl } from "../json-answer.ts";
import { FOREIGN_HINT } from "./cachix-url.ts";

/** Identifies one multipart upload at the service. */
export interface UploadIds {
  readonly narId: string;
  readonly uploadId: string;
}

const CacheSchema = objectOf({
  uri: webUrl,
  isPublic: v.boolean("true or false"),
  publicSigningKeys: v.pipe(listOf(text(1024)), v.maxLength(1000, "a list of at most 1000")),
  permission: v.picklist(["Read", "Write", "Admin"], "Read, Write or Admin"),
  preferredCompressionMethod: v.optional(v.unknown()),
});

const MissingSchema = listOf(text(1024));

/** An identifier becomes a segment of a path, so it must not be able to leave it. */
const UploadSchema = objectOf({
  narId: v.pipe(text(128), v.regex(/^[0-9A-Za-z_-]+$/, "a text of letters, digits, _ and -")),
  uploadId: v.pipe(
    text(8192),
    v.minLength(1, "a text that is not empty"),
    // JSON may hold half a character, which no URL can.
    v.check((id) => id.isWellFormed(), "a text of whole characters"),
  ),
});

const PartUrlSchema = objectOf({ uploadUrl: text(16_384) });

const PinsSchema = listOf(
  objectOf({
    name: v.string("a text"),
    lastRevision: v.nullish(objectOf({ storePath: v.string("a text") })),
  }),
);

const COMPRESSIONS = new Map<unknown, CacheInfo["preferredCompression"]>([
  ["ZSTD", "zstd"],
  ["XZ", "xz"],
]);

/**
 * Reads what the service says of a cache. Keys are cut to one line of printable characters.
 *
 * @throws {HandpickError} `CACHE_PROTOCOL` if the answer is not what the service documents.
 */
export function readCacheInfo(response: HttpResponse): CacheInfo {
  const cache = read(CacheSchema, response);
  return {
    // Both are shown to people. A URL that was parsed has no control characters, of which parsers drop some.
    readUrl: new URL(cache.uri).href.replace(/\/+$/, ""),
    // The service cuts store paths at fixed places, so others would come out mangled.
    storeDir: DEFAULT_STORE_DIR,
    publicKeys: cache.publicSigningKeys.map((key) => excerpt(key)),
    isPublic: cache.isPublic,
    writable: cache.permission !== "Read",
    preferredCompression: COMPRESSIONS.get(cache.preferredCompressionMethod),
  };
}

/** Tells whether a server says that readers get no narinfo before its whole closure. */
export function hidesIncompleteClosures({ headers }: HttpResponse): boolean {
  return headers["handpick-hides-incomplete-closures"] === "1";
}

/** @throws {HandpickError} `CACHE_PROTOCOL` if the answer is not a list of texts. */
export function readMissing(response: HttpResponse): readonly string[] {
  return read(MissingSchema, response);
}

/** @throws {HandpickError} `CACHE_PROTOCOL` if the answer does not name an upload. */
export function readUploadIds(response: HttpResponse): UploadIds {
  return read(UploadSchema, response);
}

/**
 * Reads where to put a part. The URL is a secret while it lives.
 *
 * @param base The API's own URL; from https we are not led to http.
 * @throws {HandpickError} `CACHE_PROTOCOL` if the answer holds no URL we may send data to.
 */
export function readPartUrl(response: HttpResponse, base: URL): URL {
  const url = URL.parse(read(PartUrlSchema, response).uploadUrl);
  const isWeb =
    url?.protocol === "https:" || (url?.protocol === "http:" && base.protocol === "http:");
  if (url === null || !isWeb || url.username !== "" || url.password !== "") {
    const rule = `uploadUrl to be a URL of ${base.protocol}// without credentials`;
    throw unexpectedAnswer(response, rule, { hint: FOREIGN_HINT });
  }
  return url;
}

/** @throws {HandpickError} `CACHE_PROTOCOL` if the answer is not a list of pins. */
export function readPins(response: HttpResponse): Map<string, string | undefined> {
  return new Map(
    read(PinsSchema, response).map(({ name, lastRevision }) => [name, lastRevision?.storePath]),
  );
}

function read<T>(schema: v.GenericSchema<unknown, T>, response: HttpResponse): T {
  return readAnswer(schema, response, FOREIGN_HINT);
}
