import { AbortMultipartUploadCommand, CreateMultipartUploadCommand } from "@aws-sdk/client-s3";

import { HandpickError } from "../../error.ts";
import type { CacheDiagnosis } from "../contract.ts";
import type { S3Bucket } from "./s3-bucket.ts";

/** The places where the SDK finds credentials, by the marks that it leaves on them; the more exact first. */
const SOURCES: readonly (readonly [mark: string, words: string])[] = [
  ["CREDENTIALS_ENV_VARS_STS_WEB_ID_TOKEN", "web identity"],
  ["CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN", "a profile with web identity"],
  ["CREDENTIALS_PROFILE_SOURCE_PROFILE", "a profile that takes a role"],
  ["CREDENTIALS_PROFILE_NAMED_PROVIDER", "a profile that takes a role"],
  ["CREDENTIALS_PROFILE_SSO", "a profile with SSO"],
  ["CREDENTIALS_PROFILE_SSO_LEGACY", "a profile with SSO"],
  ["CREDENTIALS_PROFILE_PROCESS", "the process of a profile"],
  ["CREDENTIALS_PROCESS", "the process of a profile"],
  ["CREDENTIALS_PROFILE", "a profile"],
  ["CREDENTIALS_HTTP", "the role of the container"],
  ["CREDENTIALS_IMDS", "the role of the instance"],
  ["CREDENTIALS_ENV_VARS", "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
];

/**
 * Finds out what a push would need. The permission to write is tried with a multipart upload that is given
 * up at once, which leaves nothing for readers to see.
 *
 * @throws {HandpickError} `TOKEN_MISSING`, or of the network.
 */
export async function diagnoseBucket(
  bucket: S3Bucket,
  signal: AbortSignal,
): Promise<CacheDiagnosis> {
  const request = { action: `try to write to ${bucket.label}`, signal };
  const identity = await bucket.identity(request);
  const object = bucket.object("nar/handpick-doctor");
  const advice = adviceFor(bucket);
  const credentials = sourceOf(identity, bucket.location.profile);
  try {
    const input = { ...object, ...bucket.storage() };
    const { UploadId } = await bucket.ask(request, (sdk, options) =>
      sdk.send(new CreateMultipartUploadCommand(input), options),
    );
    await bucket.ask(request, (sdk, options) =>
      sdk.send(new AbortMultipartUploadCommand({ ...object, UploadId }), options),
    );
    return { credentials, refusal: undefined, advice };
  } catch (error) {
    if (!(error instanceof HandpickError) || error.code !== "CACHE_REFUSED") throw error;
    return { credentials, refusal: error, advice };
  }
}

function sourceOf(identity: object, profile: string | undefined): string {
  const marks = "$source" in identity ? Object.keys(identity.$source ?? {}) : [];
  const words = SOURCES.find(([mark]) => marks.includes(mark))?.[1] ?? "the AWS SDK";
  const named = profile === undefined ? words : words.replace("a profile", `profile ${profile}`);
  return `credentials of ${named}`;
}

function adviceFor({ location }: S3Bucket): string | undefined {
  const { prefix, requesterPays } = location;
  const sentences = [
    ...(prefix === undefined ? [] : ["Nix knows no prefix in s3://: readers need http(s)."]),
    ...(requesterPays ? ["Nix does not pay as requester: readers need a server in between."] : []),
  ];
  return sentences.length === 0 ? undefined : sentences.join(" ");
}
