import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";

import type { HttpClient } from "../../http/http-client.ts";
import type { HttpRequest } from "../../http/http-message.ts";
import { ObjectRequests } from "./object-requests.ts";
import { parseS3Url } from "./s3-url.ts";
import { createSdkHandler } from "./sdk-handler.ts";

const CREDENTIALS = { accessKeyId: "AKIA", secretAccessKey: "secret", sessionToken: "session" };
const KEY = "nix/realisations/sha256:0a!out (1)*'.doi";
const BODY = new TextEncoder().encode("the bytes");
const options = {
  abortSignal: new AbortController().signal,
  action: "try",
  onAnswer: () => undefined,
};

interface Sent {
  readonly url: string;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly scope: string | undefined;
}

/** A client of ours, and one of the SDK, that send nothing: AWS itself answers to no test. */
function createBoth(url: string) {
  const requests: HttpRequest[] = [];
  const client: HttpClient = {
    request: async (request) => {
      requests.push(request);
      return { action: request.action, status: 200, headers: {}, body: Buffer.alloc(0) };
    },
    close: () => undefined,
  };
  const location = parseS3Url(url);
  const { endpoint, region, isPathStyle: forcePathStyle, isPlain } = location;
  const sdk = new S3Client({
    region,
    ...(endpoint === undefined ? { tls: !isPlain } : { endpoint }),
    forcePathStyle,
    credentials: CREDENTIALS,
    requestHandler: createSdkHandler({ client, action: "try" }),
    ...(endpoint === undefined ? {} : { requestChecksumCalculation: "WHEN_REQUIRED" }),
  });
  const sent = async (send: () => Promise<unknown>): Promise<Sent> => {
    await send();
    const { url, method, headers = {} } = requests.at(-1) ?? assert.fail("nothing was sent");
    const { authorization = "", ...rest } = headers;
    const [, scope] = /Credential=AKIA\/\d{8}\/(\S+),/.exec(authorization) ?? [];
    // The SDK adds the name of its command, for the log of the server.
    return { url: url.href.replace(/\?x-id=\w+$/, ""), method, headers: rest, scope };
  };
  return { sdk, location, sent, objects: new ObjectRequests({ sdk, client, location }) };
}

/** Of the headers those that mean something to the server and do not name the moment. */
function meant({ headers, ...rest }: Sent, ...left: readonly string[]): object {
  const kept = Object.entries(headers).filter(
    ([name]) => !/^(?:amz-sdk-.*|x-amz-date|x-amz-user-agent)$/.test(name) && !left.includes(name),
  );
  return { ...rest, headers: Object.fromEntries(kept) };
}

describe("ObjectRequests", () => {
  for (const url of [
    "s3://bucket",
    "s3://bucket?region=eu-west-1&requester-pays=true",
    "s3://bucket?region=cn-north-1",
    "s3://bucket?scheme=http&addressing-style=path",
    "s3://bucket.with.dots?region=eu-west-1",
    "s3://bucket?endpoint=127.0.0.1:9000&scheme=http",
    "s3://bucket?endpoint=https://s3.example.org/below&addressing-style=path",
    "s3://bucket?endpoint=s3.example.org&addressing-style=virtual&region=garage",
  ]) {
    it(`asks ${url} what the commands of the SDK ask it`, async () => {
      const { sdk, location, sent, objects } = createBoth(url);
      const payer = location.requesterPays ? ({ RequestPayer: "requester" } as const) : {};
      const object = { Bucket: location.bucket, Key: KEY, ...payer };
      for (const [method, command] of [
        ["GET", new GetObjectCommand(object)],
        ["HEAD", new HeadObjectCommand(object)],
      ] as const) {
        const ours = await sent(() => objects.send({ method, key: KEY }, options));
        const theirs = await sent(() => sdk.send(command, options));
        assert.deepEqual(meant(ours), meant(theirs, "x-amz-checksum-mode"));
      }
    });

    it(`puts to ${url} as the commands of the SDK do`, async () => {
      const { sdk, location, sent, objects } = createBoth(url);
      const payer = location.requesterPays ? ({ RequestPayer: "requester" } as const) : {};
      const headers = { "content-type": "text/plain", "if-none-match": "*" };
      const put = { method: "PUT", key: KEY, headers, body: BODY } as const;
      const ours = await sent(() => objects.send(put, options));
      const about = { ContentType: "text/plain", IfNoneMatch: "*", Body: BODY };
      const input = { Bucket: location.bucket, Key: KEY, ...about, ...payer };
      const theirs = await sent(() => sdk.send(new PutObjectCommand(input), options));
      // Our client counts the bytes itself, and the checksum says its own name.
      const left = ["content-length", "x-amz-sdk-checksum-algorithm"];
      assert.deepEqual(meant(ours), meant(theirs, ...left));
    });
  }
});
