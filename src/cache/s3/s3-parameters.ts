import { nearest } from "../../nix/nearest.ts";
import { quote } from "../../nix/format-error.ts";
import { parameterAdvice } from "../nix-parameters.ts";

/** A parameter of an `s3://` URL; each is obeyed. */
export type S3Parameter =
  | "region"
  | "endpoint"
  | "scheme"
  | "addressing-style"
  | "profile"
  | "prefix"
  | "storage-class"
  | "requester-pays"
  | "sse"
  | "sse-kms-key-id";

/** The values of a URL's parameters, decoded; those that the URL does not have are absent. */
export type S3Values = ReadonlyMap<S3Parameter, string>;

type Rule = (value: string) => string | undefined;

const DEFAULT_SCHEME = "https";
export const DEFAULT_REGION: string = "us-east-1";

/** In the order in which URLs have them, with the rule that a value breaks, to be said after its name. */
const RULES: ReadonlyMap<S3Parameter, Rule> = new Map<S3Parameter, Rule>([
  // A region is part of host names.
  ["region", fits(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be the name of a region, such as eu-west-1")],
  ["endpoint", endpointRule],
  ["scheme", oneOf("https", "http")],
  ["addressing-style", oneOf("auto", "path", "virtual")],
  ["profile", fits(/^[^\p{Cc}]{1,128}$/u, "must be the name of a profile")],
  [
    "prefix",
    fits(
      /^(?!\.{1,2}(?:\/|$))[\w.~-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]{1,255}){0,15}$/,
      "must be letters, digits and -._~, with / between parts and none around",
    ),
  ],
  ["storage-class", storageClassRule],
  ["requester-pays", oneOf("true", "false")],
  ["sse", oneOf("AES256", "aws:kms", "aws:kms:dsse")],
  ["sse-kms-key-id", fits(/^[\w:/.-]{1,512}$/, "must be the ID, the alias or the ARN of a key")],
]);

const DEFAULTS: ReadonlyMap<S3Parameter, string> = new Map([
  ["region", DEFAULT_REGION],
  ["scheme", DEFAULT_SCHEME],
  ["addressing-style", "auto"],
  ["requester-pays", "false"],
]);

/** Parameters of Nix's own S3 store that change nothing here, and why. */
const OF_NIX: ReadonlyMap<string, string> = new Map([
  ...["multipart-upload", "multipart-threshold", "multipart-chunk-size", "buffer-size"].map(
    (name) => [name, ": handpick chooses the parts of large files by itself"] as const,
  ),
  ...["narinfo-compression", "ls-compression", "log-compression"].map(
    (name) => [name, ": handpick compresses NARs only"] as const,
  ),
  ["write-nar-listing", ": handpick writes no listings"],
  ["index-debug-info", ": handpick writes no index of debug information"],
  ["parallel-compression", ": handpick compresses in parallel by itself"],
  ["versionId", ": a cache is not one version of an object"],
]);

/**
 * Reads the query of an `s3://` URL.
 *
 * @returns The values, without those that say the default; or the rule that the URL breaks.
 */
export function readParameters(query: string): S3Values | { readonly fault: string } {
  const values = new Map<S3Parameter, string>();
  for (const pair of query.split("&").filter(Boolean)) {
    const name = /^[^=]*/.exec(pair)?.[0] ?? "";
    const value = decode(pair.slice(name.length + 1));
    if (!isParameter(name)) return { fault: strayRule(name) };
    if (values.has(name)) return { fault: `must have the parameter ${name} once` };
    const rule = value === undefined ? "must be percent-encoded" : RULES.get(name)?.(value);
    if (value === undefined || rule !== undefined)
      return { fault: `has a value of ${name} that ${rule}` };
    values.set(name, value);
  }
  for (const [name, value] of DEFAULTS) if (values.get(name) === value) values.delete(name);
  return values;
}

/** Spells a query with parameters in their order, with the `?` before it; empty without any. */
export function printParameters(values: S3Values): string {
  const names = [...RULES.keys()].filter((name) => values.has(name));
  const pairs = names.map((name) => `${name}=${encode(values.get(name) ?? "")}`);
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

/** Nix takes these characters as they are, in every version. */
function encode(value: string): string {
  return encodeURIComponent(value).replaceAll(/%(?:2F|3A)/g, decodeURIComponent);
}

function decode(text: string): string | undefined {
  try {
    return text.isWellFormed() ? decodeURIComponent(text) : undefined;
  } catch {
    return undefined; // a % that encodes nothing, or bytes that are no UTF-8
  }
}

function isParameter(name: string): name is S3Parameter {
  return RULES.has(name as S3Parameter);
}

/** Names the parameter and not its value, which may be a secret of somebody. */
function strayRule(name: string): string {
  const reason = OF_NIX.get(name) ?? parameterAdvice(name);
  const best = reason === "" ? nearest(name, RULES.keys()) : undefined;
  const guess = best === undefined ? "" : `; did you mean ${best}?`;
  return `must not have the parameter ${quote(name)}${reason}${guess}`;
}

function fits(pattern: RegExp, rule: string): Rule {
  return (value) => (pattern.test(value) ? undefined : rule);
}

function oneOf(...words: readonly string[]): Rule {
  return (value) => (words.includes(value) ? undefined : `must be ${words.join(" or ")}`);
}

/** Objects in these classes are brought back before they can be read, and Nix does not wait. */
const UNREADABLE: ReadonlySet<string> = new Set(["GLACIER", "DEEP_ARCHIVE"]);

function storageClassRule(value: string): string | undefined {
  if (UNREADABLE.has(value)) return "must not be an archive: readers could not read from it";
  return /^[A-Z][A-Z0-9_]{0,31}$/.test(value)
    ? undefined
    : "must be a storage class such as STANDARD_IA";
}

/** A server; one with a path only as a whole URL, since Nix did not always take those. */
const ENDPOINT =
  /^(?:https?:\/\/)?(?:[A-Za-z0-9.-]+|\[[\da-fA-F:]+\])(?::\d{1,5})?(?:(?<=:\/\/.*)(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)+)?\/*$/;

function endpointRule(value: string): string | undefined {
  const url = value.includes("://") ? value : `https://${value}`;
  const isServer = ENDPOINT.test(value) && URL.canParse(url);
  return isServer ? undefined : "must be HOST, HOST:PORT or the http(s) URL of a server";
}
