import * as v from "valibot";

import { HandpickError } from "../error.ts";
import { excerpt } from "../http/excerpt.ts";
import type { HttpResponse } from "../http/http-message.ts";
import { quote } from "../nix/format-error.ts";

// The message of a schema is what was expected.

/** A text of at most so many characters. */
export function text(maxLength: number): v.GenericSchema<unknown, string> {
  return v.pipe(
    v.string("a text"),
    v.maxLength(maxLength, `a text of at most ${maxLength} characters`),
  );
}

const WEB_URL = "a URL of http:// or https://";
/** A URL of http or https; it may have credentials. */
export const webUrl: v.GenericSchema<unknown, string> = v.pipe(
  text(2048),
  v.regex(/^https?:\/\//, WEB_URL),
  v.url(WEB_URL),
);

export function listOf<T>(item: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, T[]> {
  return v.array(item, "a list");
}

/** An object; of a key that is not there, the message is that of its value. */
export function objectOf<T extends v.ObjectEntries>(
  entries: T,
): v.ObjectSchema<T, (issue: v.ObjectIssue) => string> {
  return v.object(entries, ({ path }) => {
    const entry = entries[String(path?.at(-1)?.key)];
    const issue = entry && v.safeParse(entry, undefined).issues?.[0];
    return issue?.message ?? "an object";
  });
}

/**
 * Reads the JSON of an answer, whatever its content type says: services forget it at times.
 *
 * @param hint The next step after an answer that no cache of this kind gives.
 * @throws {HandpickError} `CACHE_PROTOCOL` if the answer does not fit the schema.
 */
export function readAnswer<T>(
  schema: v.GenericSchema<unknown, T>,
  response: HttpResponse,
  hint: string,
): T {
  const result = v.safeParse(schema, parseJson(response, hint), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const place = v.getDotPath(issue) ?? "the answer";
  const where = /^\d/.test(place) ? `entry ${place}` : place;
  const rule = `${excerpt(where)} to be ${issue.message}, found ${show(issue.input)}`;
  throw unexpectedAnswer(response, rule, { hint });
}

/** The error for an answer that breaks `rule`, to be said after "expected". */
export function unexpectedAnswer(
  { action }: HttpResponse,
  rule: string,
  options: { readonly hint: string; readonly cause?: unknown },
): HandpickError {
  return new HandpickError("CACHE_PROTOCOL", `Cannot ${action}: expected ${rule}`, options);
}

function parseJson(response: HttpResponse, hint: string): unknown {
  const body = response.body.toString();
  try {
    return JSON.parse(body);
  } catch (cause) {
    const found = body === "" ? "nothing" : excerpt(body);
    throw unexpectedAnswer(response, `JSON, received ${found}`, { hint, cause });
  }
}

/** A foreign value in a few words. */
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return quote(excerpt(value));
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "an object" : JSON.stringify(value);
}
