import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { isUniqueName } from "../../../src/cache/layout/layout-upload.ts";
import {
  FAKE_SIGNER,
  type FakeS3,
  operationOf,
  type S3Operation,
  startFakeS3,
} from "../../fakes/s3.ts";
import { answering, silent, withoutETag } from "../../faults/faults.ts";
import { httpEffects } from "../effects.ts";
import type { CacheEvidence, Contents } from "../evidence.ts";
import type { LoggedRequest } from "../fault-player.ts";
import { CLOCK_STEPS, isStroke } from "../fault-step.ts";
import { ServerFaults } from "../server-faults.ts";
import type { CacheOptions, CampaignCache, CampaignKind, CueRow } from "./kind.ts";
import { keySettings, readLayout } from "./layout.ts";
import { ServerCache } from "./server-cache.ts";
import { withoutDeriver } from "./told.ts";

const CUES: readonly (CueRow & { readonly cue: S3Operation | "any" | "time" })[] = [
  { cue: "GetObject", weight: 2, most: 14 },
  { cue: "HeadObject", weight: 1, most: 2 },
  { cue: "PutObject", weight: 4, most: 28 },
  { cue: "DeleteObject", weight: 1, most: 1 },
  { cue: "CreateMultipartUpload", weight: 2, most: 2 },
  { cue: "UploadPart", weight: 3, most: 3 },
  { cue: "CompleteMultipartUpload", weight: 3, most: 2 },
  { cue: "AbortMultipartUpload", weight: 1, most: 1 },
  { cue: "ListMultipartUploads", weight: 1, most: 1 },
  { cue: "ListParts", weight: 1, most: 1 },
  { cue: "any", weight: 3, most: 28 },
  { cue: "time", weight: 2, most: 14 },
];

const XML = { "content-type": "application/xml" };
const refusing = (status: number, code: string) =>
  answering(status, XML, `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);

const ANY = [
  { name: "503, SlowDown", play: refusing(503, "SlowDown") },
  { name: "500, InternalError", play: refusing(500, "InternalError") },
  { name: "400, RequestTimeout", play: refusing(400, "RequestTimeout") },
  { name: "400, ExpiredToken", play: refusing(400, "ExpiredToken") },
  { name: "403, AccessDenied", play: refusing(403, "AccessDenied") },
  { name: "404, NoSuchBucket", play: refusing(404, "NoSuchBucket") },
  { name: "301, PermanentRedirect", play: refusing(301, "PermanentRedirect") },
  { name: "503 for good", play: refusing(503, "ServiceUnavailable") },
];
const OWN: Partial<Record<S3Operation, typeof ANY>> = {
  PutObject: [
    { name: "501, NotImplemented", play: refusing(501, "NotImplemented") },
    { name: "409, ConditionalRequestConflict", play: refusing(409, "ConditionalRequestConflict") },
    { name: "412, PreconditionFailed", play: refusing(412, "PreconditionFailed") },
    { name: "cut within", play: (exchange) => exchange.cutWithin(100) },
    { name: "done, and silence", play: silent },
  ],
  UploadPart: [
    { name: "no ETag", play: withoutETag },
    { name: "404, NoSuchUpload", play: refusing(404, "NoSuchUpload") },
    { name: "cut within", play: (exchange) => exchange.cutWithin(100) },
  ],
  CompleteMultipartUpload: [
    { name: "200, InternalError", play: refusing(200, "InternalError") },
    { name: "400, InvalidPart", play: refusing(400, "InvalidPart") },
    { name: "done, and silence", play: silent },
  ],
};

const EFFECTS = httpEffects(
  Object.fromEntries(
    CUES.flatMap(({ cue }) =>
      cue === "any" || cue === "time" ? [] : [[cue, [...ANY, ...(OWN[cue] ?? [])]]],
    ),
  ),
);

/** A wrong clock makes signatures that nobody takes. */
const REFUSALS: ReadonlySet<string> = new Set([
  ..."401|403|404|403, a page|token revoked".split("|"),
  ..."400, ExpiredToken|403, AccessDenied|404, NoSuchBucket|301, PermanentRedirect".split("|"),
  ...CLOCK_STEPS.keys(),
]);

/** Caches in buckets. */
export const s3Kind: CampaignKind = {
  name: "s3",
  cues: CUES,
  effectsOf: EFFECTS.effectsOf,
  isRefusal: ({ effect }) => REFUSALS.has(effect),
  questions: new Set(["GetObject", "HeadObject", "ListObjectsV2"]),
  told: withoutDeriver,
  unended,
  givenUpTooEarly: ({ log }) =>
    log
      .filter(({ operation }) => operation === "DeleteObject")
      .filter(({ upload, at }) => log.some((one) => one.at < at && mayName(one, upload)))
      .map(({ upload }) => upload),
  start,
};

/**
 * An upload that took a part has to be given up or be whole; a NAR that is whole has to be told of, or removed, whatever
 * the bucket made of that.
 */
function unended({ open, log }: CacheEvidence): string[] {
  const asks = (operation: S3Operation, upload: string): boolean =>
    log.some((one) => one.operation === operation && one.upload === upload);
  return open.filter((upload) => {
    if (upload.startsWith("nar/")) {
      const isOurs = log.some(({ operation, target }) => {
        return operation === "CompleteMultipartUpload" && target.includes(upload);
      });
      const isTold = log.some(({ operation, upload: told }) => {
        return operation === "PutObject" && told === upload;
      });
      return isOurs && !isTold && !asks("DeleteObject", upload);
    }
    return asks("UploadPart", upload) && !asks("AbortMultipartUpload", upload);
  });
}

/** Readers have the narinfo of that NAR, or may get it: nobody was told that they do not. */
function mayName({ operation, upload, fault, status }: LoggedRequest, nar: string): boolean {
  const isServed = fault === undefined || isStroke(fault.effect);
  return operation === "PutObject" && upload === nar && isServed && (status() ?? 200) < 300;
}

async function start(options: CacheOptions): Promise<CampaignCache> {
  const { name, dir, tokenPlace, token } = options;
  const server = await startFakeS3();
  const signer = { ...FAKE_SIGNER, accessKey: `AK${name.toUpperCase()}` };
  const faults = new ServerFaults(name, {
    operationOf: ({ method, target }) => operationOf(method, urlOf(target), nameIn(target)),
    uploadOf,
    handlerOf: EFFECTS.handlerOf,
  });
  const origin = /endpoint=([^&]+)/.exec(server.url)?.[1] ?? "";
  const before = await faults.before(`http://${origin}`, { keepsHost: true });
  const credentials = { AWS_ACCESS_KEY_ID: signer.accessKey, AWS_SECRET_ACCESS_KEY: token };
  const file = join(dir, "credentials");
  const lines = Object.entries(credentials).map(([key, value]) => `${key.toLowerCase()}=${value}`);
  await writeFile(file, `[default]\n${lines.join("\n")}\n`, { mode: 0o600 });
  return new ServerCache({
    kind: "s3",
    options,
    faults,
    server,
    settings: { url: server.url.replace(origin, new URL(before).host), ...keySettings(options) },
    env: {
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: join(dir, "config"),
      AWS_SHARED_CREDENTIALS_FILE: tokenPlace === "file" ? file : join(dir, "none"),
      ...(tokenPlace === "file" ? {} : credentials),
    },
    setToken: (secretKey) => void (server.signers = [{ ...signer, secretKey }]),
    setClock: (ms) => void (server.skewMs = ms),
    contents: () => ({
      ...contentsOf(server, options),
      // Whatever was never right.
      violations: faults.player.log
        .filter(({ fault, status }) => fault === undefined && status() === 400)
        .map(({ operation, target }) => `${operation} ${target}: received 400`),
    }),
    evict: (hashPart) => void server.objects.delete(`${hashPart}.narinfo`),
  });
}

/** The id of a multipart upload, or the name of a NAR that is removed or told of. */
function uploadOf({
  operation,
  target,
  body,
}: Pick<LoggedRequest, "operation" | "target"> & { readonly body: Buffer }): string {
  const id = urlOf(target).searchParams.get("uploadId");
  if (id !== null) return id;
  if (operation === "DeleteObject") return nameIn(target);
  const isNarInfo = operation === "PutObject" && target.includes(".narinfo");
  return (isNarInfo ? /^URL: (.+)$/m.exec(body.toString())?.[1] : undefined) ?? "";
}

function contentsOf(
  { objects, uploads }: FakeS3,
  { key }: CacheOptions,
): Omit<Contents, "violations"> {
  const files = new Map([...objects].map(([name, { bytes }]) => [name, bytes]));
  const { published, isVisible, flaws, untold } = readLayout(files, key);
  // A NAR that is named for its hash is for others as well.
  const own = untold.filter((name) => isUniqueName(name));
  return { published, isVisible, flaws, open: [...uploads.keys(), ...own], pins: [] };
}

function urlOf(target: string): URL {
  return new URL(target, "http://bucket");
}

/** The name of an object; empty for the bucket. */
function nameIn(target: string): string {
  return decodeURIComponent(urlOf(target).pathname.split("/").slice(2).join("/"));
}
