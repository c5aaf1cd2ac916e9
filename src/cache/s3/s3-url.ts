import { HandpickError } from "../../error.ts";
import {
  DEFAULT_REGION,
  printParameters,
  readParameters,
  type S3Parameter,
  type S3Values,
} from "./s3-parameters.ts";

/** The place and the habits that an `s3://` URL names. */
export interface S3Location {
  readonly bucket: string;
  readonly region: string;
  /** URL of the server, without trailing slash; undefined for AWS. */
  readonly endpoint: string | undefined;
  /** True for http in place of https, at AWS as well. */
  readonly isPlain: boolean;
  /** True for `SERVER/BUCKET/NAME`, false for `BUCKET.SERVER/NAME`. */
  readonly isPathStyle: boolean;
  readonly profile: string | undefined;
  /** The folder in the bucket, without slashes around it; undefined for its root. */
  readonly prefix: string | undefined;
  readonly storageClass: string | undefined;
  readonly requesterPays: boolean;
  readonly encryption: string | undefined;
  readonly encryptionKey: string | undefined;
}

const S3_URL = /^s3:\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/s;
const BUCKET = /^(?!\d+(?:\.\d+){3}$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const ARN = /^arn:aws[a-z-]{0,16}:s3:::([a-z0-9.-]{3,63})$/;
/** Parameters that go into the URL for readers as well, since they lead to the bucket. */
const OF_READERS: readonly S3Parameter[] = ["region", "endpoint", "scheme", "addressing-style"];

/**
 * Reads an `s3://` URL.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if it breaks a rule.
 */
export function parseS3Url(url: string): S3Location {
  const read = readS3Url(url);
  if ("fault" in read) {
    const message = `Cannot use the URL of the cache: it ${read.fault}`;
    throw new HandpickError("CACHE_URL_UNSUPPORTED", message);
  }
  const { bucket, values } = read;
  const isPlain = values.get("scheme") === "http";
  const host = values.get("endpoint");
  const style = values.get("addressing-style");
  return {
    bucket,
    region: values.get("region") ?? DEFAULT_REGION,
    endpoint: host && withScheme(host, isPlain),
    isPlain,
    isPathStyle: style === undefined ? host !== undefined : style === "path",
    profile: values.get("profile"),
    prefix: values.get("prefix"),
    storageClass: values.get("storage-class"),
    requesterPays: values.get("requester-pays") === "true",
    encryption: values.get("sse"),
    encryptionKey: values.get("sse-kms-key-id"),
  };
}

/** The rule that a URL of `s3:` breaks, to be said after "it"; undefined if none. */
export function s3UrlFault(url: string): string | undefined {
  const read = readS3Url(url);
  return "fault" in read ? read.fault : undefined;
}

/** Spells a URL without fault in the one way that identifies the cache. */
export function canonicalS3Url(url: string): string {
  const read = readS3Url(url);
  return "fault" in read ? url : `s3://${read.bucket}${printParameters(read.values)}`;
}

/**
 * The URL under which Nix reads the bucket, without trailing slash and without what only we need. Nix knows no
 * folders in buckets, so one is read by its web address.
 */
export function readUrlOf(url: string): string {
  const read = readS3Url(url);
  if ("fault" in read) return url;
  const { bucket, values } = read;
  const { prefix, region, endpoint, isPlain, isPathStyle } = parseS3Url(url);
  if (prefix === undefined) {
    const ofReaders = new Map([...values].filter(([name]) => OF_READERS.includes(name)));
    return `s3://${bucket}${printParameters(ofReaders)}`;
  }
  const server = new URL(endpoint ?? `http${isPlain ? "" : "s"}://s3.${region}.amazonaws.com`);
  const isInPath = isPathStyle || (bucket.includes(".") && !isPlain);
  const host = isInPath ? server.host : `${bucket}.${server.host}`;
  const folder = `${server.pathname.replace(/\/$/, "")}${isInPath ? `/${bucket}` : ""}/${prefix}`;
  return `${server.protocol}//${host}${folder}`;
}

/** Returns the URL that is meant by the ARN of a bucket. */
export function guessS3Url(text: string): string | undefined {
  const bucket = ARN.exec(text)?.[1];
  return bucket !== undefined && BUCKET.test(bucket) ? `s3://${bucket}` : undefined;
}

/** Returns what a URL has besides a server that only a believed file may say, after the name of the cache. */
export function s3FoundFault(url: string): string | undefined {
  const { profile, isPlain } = parseS3Url(url);
  if (profile !== undefined) return `would use your profile ${JSON.stringify(profile)}`;
  return isPlain ? "would send packages without TLS" : undefined;
}

type Read = { readonly bucket: string; readonly values: S3Values } | { readonly fault: string };

function readS3Url(url: string): Read {
  const [, bucket = "", path = "", query = "", hash] = S3_URL.exec(url) ?? [];
  if (!BUCKET.test(bucket)) {
    return { fault: "must be s3://BUCKET, BUCKET being 3 to 63 of a-z 0-9 . -" };
  }
  if (hash !== undefined) return { fault: "must have %23 in place of #" };
  if (path !== "" && path !== "/") return { fault: "must have ?prefix=FOLDER in place of a path" };
  const values = readParameters(query);
  if ("fault" in values) return values;
  if (values.get("addressing-style") === "virtual" && bucket.includes(".")) {
    return { fault: "must not have addressing-style=virtual for a bucket with dots" };
  }
  if (values.has("sse-kms-key-id") && values.get("sse")?.startsWith("aws:kms") !== true) {
    return { fault: "must have sse=aws:kms with sse-kms-key-id" };
  }
  return withEndpoint(bucket, values);
}

/** Moves the scheme of an endpoint to where every Nix reads it. */
function withEndpoint(bucket: string, values: S3Values): Read {
  const [, scheme, host] = /^(?:(https?):\/\/)?(.+?)\/*$/.exec(values.get("endpoint") ?? "") ?? [];
  if (host === undefined) return { bucket, values };
  const named = values.get("scheme");
  if (scheme !== undefined && named !== undefined && named !== scheme) {
    return { fault: "must have the scheme of its endpoint" };
  }
  const more = new Map(values);
  if (scheme === "http") more.set("scheme", scheme);
  // Only Nix that takes whole URLs takes a path.
  more.set("endpoint", host.includes("/") ? `${scheme}://${host}` : host);
  return { bucket, values: more };
}

function withScheme(endpoint: string, isPlain: boolean): string {
  return endpoint.includes("://") ? endpoint : `${isPlain ? "http" : "https"}://${endpoint}`;
}
