import * as v from "valibot";

import { HandpickError } from "../../error.ts";
import { quote } from "../../nix/format-error.ts";
import { DEFAULT_STORE_DIR } from "../../nix/store-path.ts";
import type { CacheInfo } from "../contract.ts";
import { excerpt } from "../../http/excerpt.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { FOREIGN_HINT } from "./cachix-url.ts";

/** Identifies one multipart upload at the service. */
export interface UploadIds {
  readonly narId: string;
  readonly uploadId: string;
}

// The message of a schema is what was expected.

const text = (maxLength: number): v.GenericSchema<unknown, string> =>
  v.pipe(v.string("a text"), v.maxLength(maxLength, `a text of at most ${maxLength} characters`));

const WEB_URL = "a URL of http:// or https://";
const webUrl = v.pipe(text(2048), v.regex(/^https?:\/\//, WEB_URL), v.url(WEB_URL));

const listOf = <T>(item: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, T[]> =>
  v.array(item, "a list");

/** An object; of a key that is not there, the message is that of its value. */
function objectOf<T extends v.ObjectEntries>(
  entries: T,
): v.ObjectSchema<T, (issue: v.ObjectIssue) => string> {
  return v.object(entries, ({ path }) => {
    const entry = entries[String(path?.at(-1)?.key)];
    const issue = entry && v.safeParse(entry, undefined).issues?.[0];
    return issue?.message ?? "an object";
  });
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
    throw unexpected(response, `uploadUrl to be a URL of ${base.protocol}// without credentials`);
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
  const result = v.safeParse(schema, parseJson(response), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const place = v.getDotPath(issue) ?? "the answer";
  const where = /^\d/.test(place) ? `entry ${place}` : place;
  throw unexpected(
    response,
    `${excerpt(where)} to be ${issue.message}, found ${show(issue.input)}`,
  );
}

/** A foreign value in a few words. */
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return quote(excerpt(value));
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "an object" : JSON.stringify(value);
}

/** Reads JSON whatever the content type says: the service forgets it at times. */
function parseJson(response: HttpResponse): unknown {
  const body = response.body.toString();
  try {
    return JSON.parse(body);
  } catch (error) {
    const found = body === "" ? "nothing" : excerpt(body);
    throw unexpected(response, `JSON, received ${found}`, error);
  }
}

function unexpected({ action }: HttpResponse, rule: string, cause?: unknown): HandpickError {
  return new HandpickError("CACHE_PROTOCOL", `Cannot ${action}: expected ${rule}`, {
    cause,
    hint: FOREIGN_HINT,
  });
}
