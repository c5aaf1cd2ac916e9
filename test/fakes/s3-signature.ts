import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";

export interface Signer {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
}

/** Signed requests are good for a quarter of an hour, as at AWS. */
const GOOD_MS = 15 * 60_000;

const sha256 = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Uint8Array, data: string): Buffer =>
  createHmac("sha256", key).update(data).digest();

/** The code that S3 answers a request with whose signature does not hold; undefined if it does. */
export function signatureFault(
  { method = "", url = "", headers }: IncomingMessage,
  body: Buffer,
  { signers, nowMs }: { readonly signers: readonly Signer[]; readonly nowMs: number },
): string | undefined {
  const { authorization = "" } = headers;
  const found =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      authorization,
    );
  if (found === null) return "AccessDenied";
  const [, key, day = "", region = "", signed = "", signature] = found;
  const signer = signers.find(({ accessKey }) => accessKey === key);
  if (signer === undefined) return "InvalidAccessKeyId";
  if (region !== signer.region) return "AuthorizationHeaderMalformed";
  const date = String(headers["x-amz-date"]);
  const sentMs = Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (!(Math.abs(sentMs - nowMs) < GOOD_MS)) return "RequestTimeTooSkewed";
  const names = signed.split(";");
  const isUnsigned = Object.keys(headers).some(
    (name) => (name === "host" || name.startsWith("x-amz-")) && !names.includes(name),
  );
  if (isUnsigned || !date.startsWith(day)) return "AccessDenied";
  const payload = String(headers["x-amz-content-sha256"]);
  if (payload !== sha256(body)) return "XAmzContentSHA256Mismatch";
  const [path = "", query = ""] = url.split("?");
  const pairs = query === "" ? [] : query.split("&").map((pair) => canonicalPair(pair));
  const request = [
    method,
    path,
    pairs.toSorted().join("&"),
    ...names.map((name) => `${name}:${String(headers[name]).trim().replaceAll(/ +/g, " ")}`),
    "",
    signed,
    payload,
  ].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(request)}`;
  const signing = [region, "s3", "aws4_request"].reduce(
    (secret, part) => hmac(secret, part),
    hmac(`AWS4${signer.secretKey}`, day),
  );
  return hmac(signing, text).toString("hex") === signature ? undefined : "SignatureDoesNotMatch";
}

function canonicalPair(pair: string): string {
  const [name = "", value = ""] = pair.split("=");
  return `${encode(decodeURIComponent(name))}=${encode(decodeURIComponent(value))}`;
}

function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
