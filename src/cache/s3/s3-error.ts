import { HandpickError } from "../../error.ts";
import { excerpt } from "../../http/excerpt.ts";
import type { HttpResponse } from "../../http/http-message.ts";
import { isPage, isRefusal, statusError, statusMessage } from "../../http/status-error.ts";

/** Signed requests are taken for a quarter of an hour; nearer clocks are no reason. */
const SKEW_MS = 5 * 60_000;

const NOT_IMPLEMENTED = 501;

const POLICY_HINT =
  "Check that these credentials may do it: s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on the objects, for prune s3:DeleteObject, and s3:ListBucket on the bucket, without which what is missing counts as forbidden.";

/** Codes in answers to a request with the wrong region. */
const MISPLACED: ReadonlySet<string> = new Set([
  "PermanentRedirect",
  "TemporaryRedirect",
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
  "IncorrectEndpoint",
]);
const EXPIRED: ReadonlySet<string> = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
]);
const UNKNOWN_KEY: ReadonlySet<string> = new Set([
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
  "InvalidToken",
  "InvalidSecurity",
]);
/** Answers that say by their code, not by their status, that another try may help. */
const PASSING: ReadonlySet<string> = new Set([
  "RequestTimeout",
  "SlowDown",
  "InternalError",
  "ServiceUnavailable",
  "OperationAborted",
  "ConditionalRequestConflict",
]);

/** The bucket that was asked, for messages. */
export interface S3Place {
  readonly bucket: string;
  readonly region: string;
  /** Host and port of the server, if the URL names one. */
  readonly endpoint: string | undefined;
}

/** Returns the code that S3 gives in the body of an error; empty if there is none. */
export function errorCodeOf(response: HttpResponse): string {
  return elementOf(response, "Code") ?? "";
}

/** Returns true where the server takes the signature for one of another time. */
export function isSkewed(response: HttpResponse): boolean {
  return response.status === 403 && errorCodeOf(response) === "RequestTimeTooSkewed";
}

/** Returns the status that says whether another try may help, which is not always that of the answer. */
export function retryStatusOf(response: HttpResponse): number {
  const { status } = response;
  if (status === NOT_IMPLEMENTED) return 400;
  return PASSING.has(errorCodeOf(response)) && status < 500 ? 503 : status;
}

/**
 * The error for an answer that is no success.
 *
 * @param nowMs Our clock when the answer came.
 */
export function s3Error(response: HttpResponse, place: S3Place, nowMs: number): HandpickError {
  const { action, status, headers } = response;
  const code = errorCodeOf(response);
  const found = (text: string): string => `Cannot ${action}: ${text}`;
  const at = place.endpoint === undefined ? "" : ` at ${place.endpoint}`;
  if (code === "NoSuchBucket") {
    return new HandpickError("CACHE_NOT_FOUND", found(`there is no bucket ${place.bucket}${at}`), {
      hint: "Make the bucket, or correct its name, region and endpoint in the URL of the cache.",
    });
  }
  const region = regionOf(response);
  if ((MISPLACED.has(code) || status === 301) && region !== place.region) {
    const text = `bucket ${place.bucket} is not in region ${place.region}`;
    return new HandpickError("CACHE_NOT_FOUND", found(region ? `${text} but in ${region}` : text), {
      hint: `Set region=${region ?? "…"} in the URL of the cache.`,
    });
  }
  const date = Date.parse(headers.date ?? "");
  if (isSkewed(response) || (status === 403 && Math.abs(date - nowMs) > SKEW_MS)) {
    const theirs = Number.isNaN(date) ? "another" : timeText(date);
    const text = `the clocks differ: it is ${timeText(nowMs)} here and ${theirs} at the server`;
    return new HandpickError("CACHE_REFUSED", found(`${text}; ${codeText(response)}`), {
      hint: "Set the clock of this machine: signatures are good for 15 minutes.",
    });
  }
  if (EXPIRED.has(code)) {
    return new HandpickError("CACHE_REFUSED", found("the credentials have expired"), {
      hint: "Get new ones, with aws sso login for instance, and push again.",
    });
  }
  if (status === NOT_IMPLEMENTED) {
    return new HandpickError("CACHE_PROTOCOL", statusMessage(response), {
      hint: "This server lacks a part of S3 that a cache needs.",
    });
  }
  if (!isRefusal(response) && code !== "AccessDenied")
    return statusError(response, rejectionOf(response));
  const error = statusError(response);
  if (isPage(response)) return error;
  const hint = UNKNOWN_KEY.has(code)
    ? "Check that access key and secret belong together and to this server; handpick doctor says where they come from."
    : POLICY_HINT;
  return new HandpickError("CACHE_REFUSED", statusMessage(response), { hint });
}

/** The error for what the SDK throws without an answer of S3: mostly that it found no credentials. */
export function sdkError(error: unknown, action: string, profile: string | undefined): unknown {
  if (error instanceof HandpickError || !(error instanceof Error)) return error;
  const isOfCredentials =
    /^(?:Credentials|Token)ProviderError$/.test(error.name) || "$metadata" in error;
  if (!isOfCredentials) return error;
  const isExpired = /expired|sso login|refresh/i.test(error.message);
  const which = profile === undefined ? "" : ` of profile ${JSON.stringify(profile)}`;
  const text = isExpired ? `the credentials${which} have expired` : `no credentials${which}`;
  const message = `Cannot ${action}: ${text}: ${excerpt(error.message)}`;
  const login = `aws sso login${profile === undefined ? "" : ` --profile ${profile}`}`;
  const hint = isExpired ? `Get new ones, with ${login} for instance.` : absentHint(profile);
  return new HandpickError("TOKEN_MISSING", message, { cause: error, hint });
}

/** The SDK looks nowhere else than in the profile that the URL names. */
function absentHint(profile: string | undefined): string {
  return profile === undefined
    ? "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws: looked for are those variables, profiles with SSO, roles and processes, web identity, and the roles of containers and instances."
    : "Write that profile to ~/.aws/credentials or ~/.aws/config, or leave profile= out of the URL of the cache: it alone is looked for.";
}

function rejectionOf({ status }: HttpResponse): "UPLOAD_REJECTED" | "CACHE_PROTOCOL" {
  return status === 400 || status === 413 ? "UPLOAD_REJECTED" : "CACHE_PROTOCOL";
}

function codeText(response: HttpResponse): string {
  return `received ${response.status} ${excerpt(errorCodeOf(response))}`.trim();
}

function regionOf(response: HttpResponse): string | undefined {
  const header = response.headers["x-amz-bucket-region"];
  const text = typeof header === "string" ? header : elementOf(response, "Region");
  return text !== undefined && /^[a-z0-9-]{1,63}$/.test(text) ? text : undefined;
}

/** Errors are short, and what is read of them is one word. */
function elementOf({ body }: HttpResponse, name: string): string | undefined {
  const text = body.toString("utf8", 0, 8192);
  return new RegExp(`<${name}>([\\w.:-]{1,64})</${name}>`).exec(text)?.[1];
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
