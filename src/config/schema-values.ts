import * as v from "valibot";

import { serverUrlFault } from "../cache/server-url.ts";
import { FormatError, quote } from "../nix/format-error.ts";
import { isGlob } from "../nix/glob.ts";
import { parsePublicKey } from "../nix/key.ts";
import { parseSize } from "./size.ts";

// The message of a schema is its rule, to be said after the key. It repeats the value only where nobody could
// have put a token by mistake: never for file names, variables and URLs.

/** A string of which `fault` returns no broken rule. */
export function text(fault: (value: string) => string | undefined): v.GenericSchema<string> {
  return v.pipe(
    v.string(typeRule("a string")),
    v.check(
      (value) => fault(value) === undefined,
      ({ input }) => fault(input) ?? "",
    ),
  );
}

export function listOf(item: v.GenericSchema<string>): v.GenericSchema<string[]> {
  return v.array(item, typeRule("a list of strings"));
}

export function oneOf<const T extends string>(...words: readonly T[]): v.GenericSchema<T> {
  const rule = `one of ${words.map((word) => `"${word}"`).join(", ")}`;
  return v.picklist(words, ({ input }) =>
    typeof input === "string"
      ? `must be ${rule}, found ${quote(input)}`
      : typeRule(rule)({ input }),
  );
}

/** Returns the message for a value of another type than `expected`. */
export function typeRule(expected: string): (issue: { readonly input: unknown }) => string {
  return ({ input }) => `must be ${expected}, found ${typeName(input)}`;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  if (typeof value === "object") return "a table";
  if (Number.isNaN(value)) return "nan";
  return typeof value === "number" ? "a number" : `a ${typeof value}`;
}

export const flag: v.GenericSchema<boolean> = v.boolean(typeRule("true or false"));

/** A glob on names, or on full store paths if it starts with a slash. */
export const glob: v.GenericSchema<string> = text((value) =>
  isGlob(value)
    ? undefined
    : `must be a glob such as "*-source" or a full store path, found ${quote(value)}`,
);

const LIKE_A_TOKEN = /^ey[\w=-]+\.[\w=-]+\./;
const FILE_NAME = /^[^\p{Cc}]{1,4096}$/u;

export const fileName: v.GenericSchema<string> = text((value) => {
  // A pasted token would stand in every later message that names the file.
  if (LIKE_A_TOKEN.test(value)) return "must be the name of a file, found what looks like a token";
  return FILE_NAME.test(value) ? undefined : "must be the name of a file";
});

const VARIABLE = /^[A-Za-z_]\w{0,127}$/;
export const variable: v.GenericSchema<string> = text((value) =>
  VARIABLE.test(value) ? undefined : "must be the name of an environment variable",
);

export const webUrl: v.GenericSchema<string> = text(serverUrlFault);

/** A size such as `2GiB`, or a number of bytes; the output is bytes. */
export const size: v.GenericSchema<unknown, number> = v.pipe(
  v.unknown(),
  v.transform(parseSize),
  v.number('must be a size such as "2GiB", "500 MB" or 1048576'),
);

/** The full name of a folder, which may begin with `~/` or a variable. */
export const folder: v.GenericSchema<string> = text((value) => {
  const isAbsolute = /^(?:\/|~\/|\$\{)/.test(value) && FILE_NAME.test(value);
  return isAbsolute ? undefined : "must be the full name of a folder, such as /home/me/project";
});

export const publicKey: v.GenericSchema<string> = text((value) =>
  isPublicKey(value) ? undefined : "must be a public key, name:base64, as handpick keygen shows it",
);

function isPublicKey(value: string): boolean {
  try {
    return parsePublicKey(value).name !== undefined;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}
