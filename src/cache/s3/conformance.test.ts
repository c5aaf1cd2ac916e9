import { readFile } from "node:fs/promises";
import { join } from "node:path";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, it } from "node:test";

import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
} from "@aws-sdk/client-s3";

import { cacheConformance } from "../../../test/cache-conformance.ts";
import { S3_ENV, startVersitygw, type Versitygw, whyNoVersitygw } from "../../../test/versitygw.ts";
import { publishSample, sampleUpload } from "../../../test/sample-upload.ts";
import { systemClock } from "../../clock.ts";
import { parseNarInfo } from "../../nix/narinfo.ts";
import { DEFAULT_STORE_DIR, hashPartOf } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";
import { createS3Cache } from "./s3-cache.ts";

describe("a bucket of versitygw", { skip: whyNoVersitygw }, () => {
  let server: Versitygw;
  let count = 0;
  before(async () => {
    Object.assign(process.env, S3_ENV);
    server = await startVersitygw();
  });
  after(() => server[Symbol.asyncDispose]());

  for (const prefix of ["", "caches/mine"]) {
    cacheConformance({
      name: `createS3Cache() ${prefix === "" ? "at the root" : "with a prefix"}`,
      disk: { isHeld: false },
      async setup({ clock, disk } = {}) {
        await using stack = new AsyncDisposableStack();
        const own = disk === undefined ? server : stack.use(await startVersitygw({ disk }));
        count += 1;
        const Bucket = `bucket-${count}`;
        const url = await own.bucket(Bucket);
        const more = prefix === "" ? "" : `&prefix=${prefix}`;
        const cache = stack.use(createS3Cache({ name: "mine", url: url + more, clock }));
        const kept = stack.move();
        const keyOf = (name: string): string => (prefix === "" ? name : `${prefix}/${name}`);
        const read = async (name: string): Promise<string> => {
          const { Body } = await own.sdk.send(new GetObjectCommand({ Bucket, Key: keyOf(name) }));
          return (await Body?.transformToString()) ?? "";
        };
        return {
          cache,
          isServed: (hashPart) =>
            own.sdk.send(new HeadObjectCommand({ Bucket, Key: keyOf(narInfoName(hashPart)) })).then(
              () => true,
              () => false,
            ),
          narInfo: async (path) =>
            parseNarInfo(await read(narInfoName(hashPartOf(path))), {
              storeDir: DEFAULT_STORE_DIR,
            }),
          companion: (name) => readFile(join(own.dir, Bucket, keyOf(name))),
          dir: join(own.dir, Bucket, prefix),
          [Symbol.asyncDispose]: () => kept.disposeAsync(),
        };
      },
    });
  }

  it("lets uploads be that are under way, also by a clock that is a day ahead", async () => {
    const Bucket = "left";
    const url = await server.bucket(Bucket);
    const Key = `nar/${"0".repeat(52)}-${randomUUID()}.nar.zst`;
    const { UploadId } = await server.sdk.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const clock = { ...systemClock, now: () => Date.now() + 25 * 60 * 60_000 };
    await using cache = createS3Cache({ name: "mine", url, clock });
    await publishSample(cache, sampleUpload({ name: "large", parts: 2, partBytes: 5 << 20 }));
    await cache[Symbol.asyncDispose]();
    const { Uploads = [] } = await server.sdk.send(new ListMultipartUploadsCommand({ Bucket }));
    assert.deepEqual(
      Uploads.map((upload) => upload.UploadId),
      [UploadId],
    );
  });

  it("is refused to another secret", async () => {
    const url = await server.bucket("refused");
    process.env["AWS_SECRET_ACCESS_KEY"] = "another";
    await using cache = createS3Cache({ name: "mine", url });
    const refused = { code: "CACHE_REFUSED", message: /SignatureDoesNotMatch/ };
    await assert.rejects(cache.info(new AbortController().signal), refused);
    Object.assign(process.env, S3_ENV);
  });
});
