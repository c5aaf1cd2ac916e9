import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";

import { type FakeS3, FAKE_SIGNER, startFakeS3 } from "./s3.ts";

const Bucket = "bucket";

function clientOf(fake: FakeS3, secretAccessKey = FAKE_SIGNER.secretKey): S3Client {
  const [, host] = /endpoint=([^&]*)/.exec(fake.url) ?? [];
  const { accessKey: accessKeyId, region } = FAKE_SIGNER;
  return new S3Client({
    region,
    endpoint: `http://${host}`,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
  });
}

describe("startFakeS3()", () => {
  it("takes what the SDK signs, and gives it back", async () => {
    await using fake = await startFakeS3();
    const sdk = clientOf(fake);
    await sdk.send(new PutObjectCommand({ Bucket, Key: "a b/c", Body: "text" }));
    const { Body } = await sdk.send(new GetObjectCommand({ Bucket, Key: "a b/c" }));
    assert.equal(await Body?.transformToString(), "text");
  });

  it("refuses another secret, no signature, and a clock that is off", async () => {
    await using fake = await startFakeS3();
    const get = new GetObjectCommand({ Bucket, Key: "a" });
    await assert.rejects(clientOf(fake, "other").send(get), { name: "SignatureDoesNotMatch" });
    const [, host] = /endpoint=([^&]*)/.exec(fake.url) ?? [];
    assert.equal((await fetch(`http://${host}/bucket/a`)).status, 403);
    fake.skewMs = 16 * 60_000;
    await assert.rejects(clientOf(fake).send(get), { name: "RequestTimeTooSkewed" });
  });

  it("refuses a body other than the one that was signed", async () => {
    await using fake = await startFakeS3();
    const sdk = clientOf(fake);
    const change = (next: (args: never) => Promise<never>) => (args: never) => {
      (args as { request: { body: string } }).request.body = "else";
      return next(args);
    };
    sdk.middlewareStack.add(change as never, { step: "finalizeRequest", priority: "low" });
    const put = new PutObjectCommand({ Bucket, Key: "a", Body: "text" });
    await assert.rejects(sdk.send(put), { name: "XAmzContentSHA256Mismatch" });
    assert.equal(fake.objects.size, 0);
  });

  it("refuses parts that are too small, and keeps conditions", async () => {
    await using fake = await startFakeS3();
    const sdk = clientOf(fake);
    const about = { Bucket, Key: "a" };
    const { UploadId } = await sdk.send(new CreateMultipartUploadCommand(about));
    const Parts = [];
    for (const PartNumber of [1, 2]) {
      const part = new UploadPartCommand({ ...about, UploadId, PartNumber, Body: "small" });
      Parts.push({ PartNumber, ETag: (await sdk.send(part)).ETag });
    }
    const complete = { ...about, UploadId, MultipartUpload: { Parts } };
    await assert.rejects(sdk.send(new CompleteMultipartUploadCommand(complete)), {
      name: "EntityTooSmall",
    });
    const put = new PutObjectCommand({ ...about, Body: "x", IfNoneMatch: "*" });
    await sdk.send(put);
    await assert.rejects(sdk.send(put), { name: "PreconditionFailed" });
  });
});
