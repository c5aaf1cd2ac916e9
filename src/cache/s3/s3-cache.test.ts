import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { before, describe, it } from "node:test";

import type { S3Fault } from "../../../test/fakes/s3.ts";
import { createS3Rig, FAKE_S3_ENV, type S3Rig } from "../../../test/s3-rig.ts";
import { publishSample, sampleUpload, type SampleUpload } from "../../../test/sample-upload.ts";
import { parseNarInfo } from "../../nix/narinfo.ts";
import { DEFAULT_STORE_DIR, hashPartOf } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";
import { createS3Cache } from "./s3-cache.ts";

const { signal } = new AbortController();
const LARGE = { parts: 3, partBytes: 5 << 20 } as const;

before(() => void Object.assign(process.env, FAKE_S3_ENV));

const keyOf = ({ storePath }: SampleUpload): string => narInfoName(hashPartOf(storePath));
const nars = ({ fake }: S3Rig): string[] =>
  [...fake.objects.keys()].filter((name) => name.startsWith("nar/"));
const urlIn = ({ fake }: S3Rig, sample: SampleUpload): string => {
  const text = fake.objects.get(keyOf(sample))?.bytes.toString() ?? "";
  return parseNarInfo(text, { storeDir: DEFAULT_STORE_DIR }).url;
};

describe("createS3Cache()", () => {
  it("puts a small path with one request for the NAR and one for the narinfo", async () => {
    await using rig = await createS3Rig();
    await publishSample(rig.cache, sampleUpload({ name: "small" }));
    const names = rig.fake.requests.map(({ operation }) => operation);
    assert.deepEqual(names, ["GetObject", "PutObject", "PutObject", "PutObject"]);
    assert.equal(rig.fake.requests.at(-1)?.headers["if-none-match"], "*");
  });

  it("sends no checksums that only AWS knows, and no body in chunks", async () => {
    await using rig = await createS3Rig();
    await publishSample(rig.cache, sampleUpload({ name: "large", ...LARGE }));
    for (const { headers } of rig.fake.requests) {
      assert.equal(
        Object.keys(headers).find((name) => name.includes("checksum")),
        undefined,
      );
      assert.equal(headers["content-encoding"], undefined);
      assert.match(headers["user-agent"] ?? "", /^handpick\//);
    }
  });

  it("stores as the URL says, and pays where it says so", async () => {
    const parameters =
      "&storage-class=STANDARD_IA&sse=aws:kms&sse-kms-key-id=alias/x&requester-pays=true&prefix=a/b";
    await using rig = await createS3Rig({ parameters });
    await publishSample(rig.cache, sampleUpload({ name: "large", ...LARGE }));
    for (const { operation, headers, name } of rig.fake.requests) {
      assert.equal(headers["x-amz-request-payer"], "requester", operation);
      if (operation !== "ListMultipartUploads") assert.match(name, /^a\/b\/./);
      if (operation !== "PutObject" && operation !== "CreateMultipartUpload") continue;
      assert.equal(headers["x-amz-storage-class"], "STANDARD_IA");
      assert.equal(headers["x-amz-server-side-encryption"], "aws:kms");
      assert.equal(headers["x-amz-server-side-encryption-aws-kms-key-id"], "alias/x");
    }
  });

  it("goes through the proxy of its environment, to the host that the style of the URL gives", async () => {
    const asked: string[] = [];
    const proxy = createServer(({ url = "" }, response) => {
      asked.push(url);
      response.writeHead(404).end();
    }).listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const http_proxy = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    for (const style of ["auto", "virtual"]) {
      const url = `s3://bucket?endpoint=s3.example.org&scheme=http&addressing-style=${style}`;
      await using cache = createS3Cache({ name: "mine", url, env: { http_proxy } });
      await cache.info(signal);
    }
    const [inPath = "", inHost = ""] = asked;
    assert.match(inPath, /^http:\/\/s3\.example\.org\/bucket\/nix-cache-info/);
    assert.match(inHost, /^http:\/\/bucket\.s3\.example\.org\/nix-cache-info/);
    proxy.closeAllConnections();
    proxy.close();
  });

  it("is read at the web address of its folder, since Nix knows none in buckets", async () => {
    await using rig = await createS3Rig({ parameters: "&prefix=nix" });
    const endpoint = /endpoint=([^&]*)/.exec(rig.fake.url)?.[1];
    assert.equal((await rig.cache.info(signal)).readUrl, `http://${endpoint}/bucket/nix`);
  });
});

describe("the narinfo of a path that another machine published meanwhile", () => {
  async function publishedBefore(rig: S3Rig, sample: SampleUpload): Promise<void> {
    await publishSample(rig.cache, sample);
    rig.fake.requests.length = 0;
  }

  it("is left as it is if it says all that ours does", async () => {
    await using rig = await createS3Rig();
    const signatures = [`a:${"A".repeat(86)}==`, `b:${"A".repeat(86)}==`];
    await publishedBefore(rig, sampleUpload({ name: "x", signatures }));
    const before = rig.fake.objects.get(keyOf(sampleUpload({ name: "x" })));
    await publishSample(rig.cache, sampleUpload({ name: "x", signatures: signatures.slice(1) }));
    assert.equal(rig.fake.objects.get(keyOf(sampleUpload({ name: "x" }))), before);
  });

  it("is left as it is if its own NAR is there, and ours of several parts goes away", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "large", ...LARGE });
    await publishedBefore(rig, sample);
    const url = urlIn(rig, sample);
    await publishSample(rig.cache, sample);
    assert.equal(urlIn(rig, sample), url);
    assert.deepEqual(nars(rig), [url]);
  });

  it("is replaced if its NAR is gone", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "large", ...LARGE });
    await publishedBefore(rig, sample);
    rig.fake.objects.delete(urlIn(rig, sample));
    await publishSample(rig.cache, sample);
    assert.deepEqual(nars(rig), [urlIn(rig, sample)]);
    assert.notEqual(rig.fake.requests.at(-1)?.headers["if-match"], undefined);
  });

  it("is replaced if it lacks our signature, or is none", async () => {
    await using rig = await createS3Rig();
    const signatures = [`a:${"A".repeat(86)}==`];
    await publishedBefore(rig, sampleUpload({ name: "x" }));
    await publishSample(rig.cache, sampleUpload({ name: "x", signatures }));
    const put = (): string =>
      rig.fake.objects.get(keyOf(sampleUpload({ name: "x" })))?.bytes.toString() ?? "";
    assert.match(put(), /^Sig: a:/m);
    rig.fake.objects.set(keyOf(sampleUpload({ name: "x" })), {
      bytes: Buffer.from("?"),
      headers: {},
    });
    await publishSample(rig.cache, sampleUpload({ name: "x" }));
    assert.match(put(), /^StorePath: /m);
  });

  it("is replaced in any case once others have changed it again and again", async () => {
    await using rig = await createS3Rig();
    await publishedBefore(rig, sampleUpload({ name: "x" }));
    const fault = { operation: "PutObject", status: 412, code: "PreconditionFailed" } as const;
    const upload = await rig.cache.beginUpload(
      sampleUpload({ name: "x", signatures: [`a:${"A".repeat(86)}==`] }).request,
      signal,
    );
    const [part] = sampleUpload({ name: "x" }).parts;
    assert.ok(part);
    await upload.putPart(part, signal);
    rig.fake.faults.push(fault, fault, fault, fault, fault);
    await upload.publish(sampleUpload({ name: "x" }).packed, signal);
    const { headers } = rig.fake.requests.at(-1) ?? assert.fail();
    assert.deepEqual([headers["if-match"], headers["if-none-match"]], [undefined, undefined]);
  });

  it("is asked for again after 409", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "x" });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    rig.fake.faults.push({
      operation: "PutObject",
      status: 409,
      code: "ConditionalRequestConflict",
    });
    await upload.publish(sample.packed, signal);
    assert.equal(rig.notices.length, 1);
    assert.equal(rig.fake.objects.has(keyOf(sample)), true);
  });

  it("is put as it is at a server that knows no conditions, which is found out once", async () => {
    await using rig = await createS3Rig();
    rig.fake.knowsConditions = false;
    for (const name of ["a", "b"]) {
      const sample = sampleUpload({ name });
      await publishSample(rig.cache, sample);
      assert.equal(rig.fake.objects.has(keyOf(sample)), true);
    }
    const conditional = rig.fake.requests.filter(({ headers }) => headers["if-none-match"]);
    assert.equal(conditional.length, 1);
  });
});

describe("an upload of several parts", () => {
  it("is given up with all its parts if one fails", async () => {
    await using rig = await createS3Rig();
    rig.fake.faults.push({ operation: "UploadPart", status: 400, code: "InvalidRequest" });
    await assert.rejects(publishSample(rig.cache, sampleUpload({ name: "x", ...LARGE })), {
      code: "UPLOAD_REJECTED",
    });
    assert.deepEqual([rig.fake.uploads.size, rig.fake.objects.size], [0, 1]);
  });

  it("is one upload, whichever part comes first", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "x", ...LARGE });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    await Promise.all(sample.parts.toReversed().map((part) => upload.putPart(part, signal)));
    await upload.publish(sample.packed, signal);
    assert.equal(rig.fake.countOf("CreateMultipartUpload"), 1);
    assert.deepEqual(rig.fake.objects.get(urlIn(rig, sample))?.bytes, sample.file);
  });

  it("is complete although the answer was lost", async () => {
    await using rig = await createS3Rig();
    rig.fake.faults.push({ operation: "CompleteMultipartUpload", isLost: true });
    const sample = sampleUpload({ name: "x", ...LARGE });
    await publishSample(rig.cache, sample);
    assert.equal(rig.fake.countOf("CompleteMultipartUpload"), 2);
    assert.deepEqual(nars(rig), [urlIn(rig, sample)]);
  });

  it("is completed again after an error within a success", async () => {
    await using rig = await createS3Rig();
    const body = "<?xml version='1.0'?><Error><Code>InternalError</Code></Error>";
    rig.fake.faults.push({ operation: "CompleteMultipartUpload", status: 200, body });
    await publishSample(rig.cache, sampleUpload({ name: "x", ...LARGE }));
    assert.equal(rig.notices.length, 1);
    assert.equal(nars(rig).length, 1);
  });

  it("fails if S3 does not take the parts, and leaves nothing", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "x", parts: 3 });
    await assert.rejects(publishSample(rig.cache, sample), {
      code: "UPLOAD_REJECTED",
      message: /EntityTooSmall/,
    });
    assert.deepEqual([rig.fake.uploads.size, nars(rig).length], [0, 0]);
  });

  it("goes away if nobody is told of it: the narinfo was refused", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "x", ...LARGE });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    rig.fake.faults.push({ operation: "PutObject", status: 403, code: "AccessDenied" });
    await assert.rejects(upload.publish(sample.packed, signal), { code: "CACHE_REFUSED" });
    await upload.abort();
    assert.deepEqual(nars(rig), []);
  });

  it("stays where the narinfo is there already although its answer was lost", async () => {
    for (const second of [[], [{ operation: "PutObject", status: 403, code: "AccessDenied" }]]) {
      await using rig = await createS3Rig();
      const sample = sampleUpload({ name: "x", ...LARGE });
      const upload = await rig.cache.beginUpload(sample.request, signal);
      for (const part of sample.parts) await upload.putPart(part, signal);
      rig.fake.faults.push({ operation: "PutObject", isLost: true }, ...(second as S3Fault[]));
      await upload.publish(sample.packed, signal).catch(() => undefined);
      await upload.abort();
      assert.deepEqual(nars(rig), [urlIn(rig, sample)]);
    }
  });

  it("stays where the narinfo may have arrived", async () => {
    await using rig = await createS3Rig();
    const sample = sampleUpload({ name: "x", ...LARGE });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    for (let tries = 0; tries < 40; tries++) {
      rig.fake.faults.push({ operation: "PutObject", status: 500 });
    }
    await assert.rejects(upload.publish(sample.packed, signal), { code: "CACHE_UNAVAILABLE" });
    await upload.abort();
    assert.equal(nars(rig).length, 1);
  });

  it("is given up in bounded time if the server is silent", async () => {
    await using rig = await createS3Rig({ abortMs: 50 });
    const sample = sampleUpload({ name: "x", ...LARGE });
    const upload = await rig.cache.beginUpload(sample.request, signal);
    const [part] = sample.parts;
    assert.ok(part);
    await upload.putPart(part, signal);
    const { promise: until, resolve } = Promise.withResolvers<undefined>();
    rig.fake.faults.push({ operation: "AbortMultipartUpload", until });
    const startMs = performance.now();
    await upload.abort();
    assert.ok(performance.now() - startMs < 2000);
    resolve(undefined);
  });
});
