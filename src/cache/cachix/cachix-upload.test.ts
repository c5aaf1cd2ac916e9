import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import { createCachixRig } from "../../../test/cachix-rig.ts";
import type { CachixRig } from "../../../test/cachix-rig.ts";
import { samplePart, sampleUpload } from "../../../test/sample-upload.ts";
import { generateSecretKey, printPublicKey, publicKeyOf } from "../../nix/key.ts";
import { fingerprint, signFingerprint } from "../../nix/signature.ts";
import { fromBaseName, hashPartOf } from "../../nix/store-path.ts";
import { HandpickError } from "../../error.ts";

const { signal } = new AbortController();
const sample = sampleUpload({ name: "hello-1.0" });
const hash = hashPartOf(sample.storePath);
const { storePath } = sample;

/** How often each call was made. */
function counts({ fake }: CachixRig): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { operation } of fake.requests) found[operation] = (found[operation] ?? 0) + 1;
  return found;
}

describe("an upload to Cachix, as sent", () => {
  it("goes begin, URL, PUT, complete, and no further", async () => {
    await using rig = await createCachixRig();
    await rig.push(sample);
    assert.deepEqual(
      rig.fake.requests.map(({ operation }) => operation),
      ["begin", "part-url", "put", "complete"],
    );
    const [begin, partUrl, , complete] = rig.fake.requests;
    const narId = "[0-9a-f-]{36}";
    const uploadId = "uploadId=AB%2Bc%2Fd%3D%26[0-9a-f-]{36}";
    const api = "/api/v1/cache/acme/multipart-nar";
    assert.equal(begin?.target, `${api}?compression=zst`);
    assert.match(partUrl?.target ?? "", new RegExp(`^${api}/${narId}\\?${uploadId}&partNumber=1$`));
    assert.match(complete?.target ?? "", new RegExp(`^${api}/${narId}/complete\\?${uploadId}$`));
  });

  it("spells xz as the query wants it", async () => {
    await using rig = await createCachixRig();
    await rig.cache.beginUpload({ ...sample.request, compression: "xz" }, signal);
    assert.match(rig.fake.requests[0]?.target ?? "", /\?compression=xz$/);
  });

  it("puts a part with its MD5 and nothing of ours but the user agent", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.cache.beginUpload(sample.request, signal);
    await upload.putPart(samplePart(1, Buffer.from("hello\n")), signal);
    const [ask] = rig.fake.of("part-url");
    assert.equal(ask?.body.toString(), '{"contentMD5":"sZRqySSS0jR8YjW00mERhA=="}');
    const [put] = rig.fake.of("put");
    const { host, connection, ...headers } = put?.headers ?? {};
    assert.equal(`http://${host}`, rig.fake.service.storageUrl);
    assert.equal(connection, "keep-alive");
    assert.deepEqual(headers, {
      "content-length": "6",
      "content-md5": "sZRqySSS0jR8YjW00mERhA==",
      "content-type": "application/octet-stream",
      "user-agent": "handpick/dev",
    });
    assert.equal(put?.body.toString(), "hello\n");
  });

  it("puts an empty part", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.cache.beginUpload(sample.request, signal);
    await upload.putPart(samplePart(1, Buffer.alloc(0)), signal);
    assert.equal(rig.fake.of("put")[0]?.headers["content-md5"], "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert.equal(rig.fake.of("put")[0]?.headers["content-length"], "0");
  });

  it("completes with exactly the body that the service wants", async () => {
    await using rig = await createCachixRig();
    const references = [
      "zhrjg6wxrxmdlpn6iapzpp2z2vylpvw5-home-manager.sh",
      "7m5x92fbfc3zxqmbkhl5fqqydsmdpggb-hm-modules-messages",
    ];
    const deriver = fromBaseName("7k3i624w0rfrvcrbbdrw0zrvasywxmz4-hello-1.0.drv");
    await rig.push(
      sampleUpload({
        name: "hello-1.0",
        references: references.map((name) => fromBaseName(name)),
        info: { deriver },
      }),
    );
    const md5 = createHash("md5").update(sample.file).digest("hex");
    const body = {
      parts: [{ partNumber: 1, eTag: `"${md5}"` }],
      narInfoCreate: {
        cStoreHash: hash,
        cStoreSuffix: "hello-1.0",
        cNarHash: sample.request.info.narHash,
        cNarSize: sample.request.info.narSize,
        cFileHash: createHash("sha256").update(sample.file).digest("hex"),
        cFileSize: sample.file.length,
        cReferences: references.toSorted((a, b) => (a < b ? -1 : 1)),
        cDeriver: "7k3i624w0rfrvcrbbdrw0zrvasywxmz4-hello-1.0.drv",
        cSig: null,
      },
    };
    assert.match(sample.request.info.narHash, /^sha256:[0-9a-df-np-sv-z]{52}$/);
    assert.equal(rig.fake.of("complete")[0]?.body.toString(), JSON.stringify(body));
  });

  it("names no deriver that is none", async () => {
    for (const deriver of [undefined, storePath]) {
      await using rig = await createCachixRig();
      await rig.push(sampleUpload({ name: "hello-1.0", info: { deriver } }));
      assert.equal(rig.fake.service.published.get(hash)?.narInfo["cDeriver"], "unknown-deriver");
    }
  });

  it("sends the signature without the name of its key", async () => {
    await using rig = await createCachixRig();
    const key = generateSecretKey("mine-1");
    await rig.cache.registerKey?.(printPublicKey(publicKeyOf(key)), signal);
    const signature = signFingerprint(fingerprint({ ...sample.request.info, storePath }), key);
    await rig.push(sampleUpload({ name: "hello-1.0", signatures: [signature] }));
    const { cSig } = rig.fake.service.published.get(hash)?.narInfo ?? {};
    assert.equal(`mine-1:${String(cSig)}`, signature);
  });

  it("lists the parts in order, however they arrived, with ETags as they came", async () => {
    await using rig = await createCachixRig();
    const parts = sampleUpload({ name: "many", parts: 3 });
    const etags = ['W/"Weak"', "bare", '"CaSe"'];
    for (const etag of etags.toReversed()) {
      rig.fake.next("put").handle((_request, serve) => {
        return { ...serve(), headers: { etag } };
      });
    }
    rig.fake.next("complete").reply(200);
    await rig.push({ ...parts, parts: parts.parts.toReversed() });
    const sent = JSON.parse(rig.fake.of("complete")[0]?.body.toString() ?? "");
    assert.deepEqual(
      sent.parts,
      etags.map((eTag, index) => ({ partNumber: index + 1, eTag })),
    );
  });
});

describe("putPart() of a Cachix upload", () => {
  it("repeats a part whose connection is cut, under the same URL", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("put").cut({ afterBytes: 10 });
    rig.fake.next("put").cut();
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 3, complete: 1 });
    assert.deepEqual(rig.clock.sleeps, [500, 1000]);
  });

  it("repeats a part that storage fails at, and waits as long as it asks", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("put").reply(503, { headers: { "retry-after": "2" } });
    rig.fake.next("put").reply(500, { body: "<Error><Code>InternalError</Code></Error>" });
    await rig.push(sample);
    assert.deepEqual(rig.clock.sleeps, [2000, 1000]);
    assert.equal(rig.fake.of("part-url").length, 1);
  });

  it("repeats a part that took longer than other requests may", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("put").handle(() => {
      rig.clock.advance(600_000);
      return { status: 503 };
    });
    await rig.push(sample);
    assert.equal(rig.fake.of("put").length, 2);
  });

  it("asks for a new URL once the first is older than four minutes", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("put").handle(() => {
      rig.clock.advance(241_000);
      return { status: 500 };
    });
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 2, put: 2, complete: 1 });
  });

  it("asks for one new URL when the first has expired, for that part only", async () => {
    await using rig = await createCachixRig();
    const expired =
      "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    rig.fake.next("put").reply(403, { body: expired });
    await rig.push(sampleUpload({ name: "three", parts: 3 }));
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 4, put: 4, complete: 1 });
    assert.deepEqual(rig.clock.sleeps, []);
  });

  it("fails when storage refuses the second URL as well, and shows no URL", async () => {
    await using rig = await createCachixRig();
    for (const status of [403, 400]) {
      rig.fake.next("put").reply(status, {
        body: "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>secret</StringToSign></Error>",
      });
    }
    await assert.rejects(rig.begin(sample), {
      code: "UPLOAD_REJECTED",
      message:
        'Cannot upload part 1 of "hello-1.0" to cache "mine": expected status 200, received 400: SignatureDoesNotMatch',
    });
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 2, put: 2 });
  });

  it("tells the page of a gateway before the storage from a slow line", async () => {
    await using rig = await createCachixRig();
    for (const [body, hint] of [
      ["<html><h1>Blocked</h1></html>", /^Check which gateway/],
      ["<Error><Code>AccessDenied</Code></Error>", /^If this line is slow/],
    ] as const) {
      for (let tries = 2; tries > 0; tries--) rig.fake.next("put").reply(403, { body });
      await assert.rejects(rig.begin(sample), { code: "UPLOAD_REJECTED", hint });
    }
  });

  it("fails when storage gives no ETag that can be given back", async () => {
    await using rig = await createCachixRig();
    for (const headers of [{}, { etag: "" }, { etag: "x".repeat(2000) }]) {
      rig.fake.next("put").reply(200, { headers });
      await assert.rejects(rig.begin(sample), {
        code: "CACHE_PROTOCOL",
        message: /^Cannot upload part 1 .*: expected an ETag from the storage, received/,
      });
    }
  });

  it("fails at a refusal of the URL without a second try", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("part-url").reply(403, { body: "no" });
    await assert.rejects(rig.begin(sample), { code: "CACHE_REFUSED" });
    rig.fake.next("part-url").reply(400, { body: "no" });
    await assert.rejects(rig.begin(sample), {
      code: "UPLOAD_REJECTED",
      hint: /ask its operator/,
    });
    assert.deepEqual(counts(rig), { begin: 2, "part-url": 2 });
  });

  it("repeats asking for the URL", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("part-url").reply(502);
    rig.fake.next("part-url").cut();
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 3, put: 1, complete: 1 });
  });

  it("sends data to no URL that is not one of the web, or carries credentials", async () => {
    const urls = ["file:///etc/passwd", "http://u:p@127.0.0.1/", "/relative", "", 5, "ftp://h/"];
    await using rig = await createCachixRig();
    for (const uploadUrl of urls) {
      rig.fake.next("part-url").reply(200, { body: { uploadUrl } });
      await assert.rejects(rig.begin(sample), { code: "CACHE_PROTOCOL" }, `${uploadUrl}`);
    }
    assert.equal(rig.fake.of("put").length, 0);
  });

  it("never shows the signed URL when storage cannot be reached", async () => {
    await using rig = await createCachixRig();
    const uploadUrl = "http://127.0.0.1:1/bucket?X-Amz-Signature=secret";
    rig.fake.next("part-url").reply(200, { body: { uploadUrl } });
    const error: unknown = await rig.begin(sample).catch((found: unknown) => found);
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, "NETWORK");
    assert.match(error.message, /127\.0\.0\.1:1/);
    assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /secret|bucket/);
  });

  it("stops with the reason of its signal while a part is on its way", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.cache.beginUpload(sample.request, signal);
    const script = rig.fake.next("put");
    const release = script.hold();
    const stop = new AbortController();
    const pending = upload.putPart(samplePart(1, sample.file), stop.signal);
    await script.arrived;
    const reason = new Error("stop");
    stop.abort(reason);
    await assert.rejects(pending, reason);
    release();
  });
});

describe("a page of HTML in place of an answer", () => {
  const page = { body: "\n<!doctype html><title>Log in</title>" };

  it("publishes nothing, whatever its status says", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    rig.fake.next("complete").reply(200, page);
    await assert.rejects(upload.publish(sample.packed, signal), {
      code: "CACHE_PROTOCOL",
      message: /expected JSON, received a page of HTML/,
    });
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set([hash]));
  });

  it("is no matter where the cache has the path all the same", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    rig.fake.next("complete").handle((_request, serve) => {
      serve();
      return { status: 200, ...page };
    });
    await upload.publish(sample.packed, signal);
    assert.deepEqual(await rig.cache.missing([hash], signal), new Set());
  });
});

describe("beginUpload() of a Cachix cache", () => {
  it("repeats after a passing failure", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("begin").reply(500, { body: "short" });
    rig.fake.next("begin").cut();
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 3, "part-url": 1, put: 1, complete: 1 });
  });

  it("tells a revoked token from one that may only read", async () => {
    await using rig = await createCachixRig();
    rig.fake.service.permission = "Read";
    await assert.rejects(rig.begin(sample), { code: "CACHE_REFUSED" });
    await rig.cache.info(signal);
    await assert.rejects(rig.begin(sample), {
      code: "CACHE_READ_ONLY",
      message:
        'Cannot start the upload of "hello-1.0" to cache "mine": expected a token that may write, received status 403',
    });
    assert.equal(rig.fake.of("begin").length, 2);
  });

  it("does not repeat what is not acceptable", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("begin").reply(413, { body: "Quota exceeded" });
    await assert.rejects(rig.begin(sample), {
      code: "UPLOAD_REJECTED",
      message: /received 413: Quota exceeded$/,
    });
    assert.equal(rig.fake.of("begin").length, 1);
  });

  it("refuses identifiers that could lead elsewhere", async () => {
    await using rig = await createCachixRig();
    const uploadId = "u";
    for (const narId of ["..", "a/b", "", "x".repeat(200), 7, null]) {
      rig.fake.next("begin").reply(200, { body: { narId, uploadId } });
      await assert.rejects(rig.begin(sample), { code: "CACHE_PROTOCOL" }, `${narId}`);
    }
    for (const bad of ["", "x".repeat(9000), undefined]) {
      rig.fake.next("begin").reply(200, { body: { narId: "n", uploadId: bad } });
      await assert.rejects(rig.begin(sample), { code: "CACHE_PROTOCOL" });
    }
  });
});

describe("publish() of a Cachix upload", () => {
  it("finds out that complete took effect when its answer is lost", async () => {
    for (const lose of ["cut", 524, 500, 408] as const) {
      await using rig = await createCachixRig();
      const script = rig.fake.next("complete");
      if (lose === "cut") script.cut({ takeEffect: true });
      else script.reply(lose, { takeEffect: true });
      await rig.push(sample);
      assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 1, missing: 1 });
      assert.equal(rig.fake.of("missing")[0]?.body.toString(), JSON.stringify([hash]));
    }
  });

  it("sends complete again, and not the parts, when it took no effect", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("complete").reply(524);
    rig.fake.next("complete").cut();
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 3, missing: 2 });
    assert.deepEqual(rig.clock.sleeps, [500, 1000]);
  });

  it("waits on while the question fails as well", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("complete").reply(524, { takeEffect: true });
    rig.fake.next("missing").reply(502);
    rig.fake.next("missing").cut();
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 1, missing: 3 });
  });

  it("takes effect minutes later, unseen until the last question", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("complete").reply(524, { takeEffect: true });
    const stale = { status: 200, body: [hash] };
    rig.fake.next("missing").handle(() => stale);
    rig.fake.next("complete").reply(404, { body: "The upload is over." });
    await rig.push(sample);
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 2, missing: 2 });
  });

  it("gives up after a bounded number of tries, with a last question", async () => {
    await using rig = await createCachixRig();
    for (let count = 0; count < 10; count++) rig.fake.next("complete").reply(503);
    await assert.rejects(rig.push(sample), { code: "CACHE_UNAVAILABLE" });
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 10, missing: 10 });
  });

  it("reports the failure that it had when the last question fails too", async () => {
    await using rig = await createCachixRig();
    for (let count = 0; count < 10; count++) rig.fake.next("complete").cut();
    for (let count = 0; count < 9; count++) rig.fake.next("missing");
    rig.fake.next("missing").cut();
    await assert.rejects(rig.push(sample), {
      code: "NETWORK",
      message: /^Cannot complete the upload of "hello-1\.0" to cache "mine": /,
    });
  });

  it("believes the last question after cut upon cut", async () => {
    await using rig = await createCachixRig();
    for (let count = 0; count < 9; count++) rig.fake.next("complete").cut();
    rig.fake.next("complete").cut({ takeEffect: true });
    await rig.push(sample);
    assert.equal(rig.fake.of("complete").length, 10);
  });

  it("stops at a refusal, with one request and one message", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    rig.fake.service.token = "revoked";
    await assert.rejects(upload.publish(sample.packed, signal), { code: "CACHE_REFUSED" });
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 1 });
  });

  it("stops when the question is refused", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("complete").reply(524);
    rig.fake.next("missing").reply(401);
    await assert.rejects(rig.push(sample), { code: "CACHE_REFUSED" });
    assert.equal(rig.fake.of("complete").length, 1);
  });

  it("does not repeat what is not acceptable", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("complete").reply(400, { body: "The name is too long." });
    await assert.rejects(rig.push(sample), {
      code: "UPLOAD_REJECTED",
      message:
        'Cannot complete the upload of "hello-1.0" to cache "mine": expected status 200, received 400: The name is too long.',
      hint: /^If it has no key of its own: Set signing-key-file /,
    });
    assert.deepEqual(counts(rig), { begin: 1, "part-url": 1, put: 1, complete: 1 });
  });

  it("tells a cache that misses a signature from one that misses a token", async () => {
    const named = ["A signature is needed.", "cSig: expected a string", "unsigned"];
    const cases: readonly (readonly [number, string, string])[] = [
      ...named.map((body) => [400, body, "SIGNING_KEY_MISSING"] as const),
      [422, "The path is not signed", "SIGNING_KEY_MISSING"],
      [403, "sign it", "SIGNING_KEY_MISSING"],
      [401, "The signature of the token is not valid", "CACHE_REFUSED"],
      [403, "no", "CACHE_REFUSED"],
      [400, "designed otherwise", "UPLOAD_REJECTED"],
      [413, "signed paths only up to 1 GiB", "UPLOAD_REJECTED"],
    ];
    await using rig = await createCachixRig();
    for (const [status, body, code] of cases) {
      rig.fake.next("complete").reply(status, { body });
      await assert.rejects(rig.push(sample), { code }, body);
    }
    rig.fake.next("complete").reply(400, { body: "A signature is needed." });
    const signed = sampleUpload({ name: "hello-1.0", signatures: ["a:b"] });
    await assert.rejects(rig.push(signed), { code: "UPLOAD_REJECTED" });
  });

  it("takes a refusal of a cache without any key for the want of one", async () => {
    await using rig = await createCachixRig();
    await rig.cache.info(signal);
    rig.fake.next("complete").reply(400, { body: "no" });
    await assert.rejects(rig.push(sample), {
      code: "SIGNING_KEY_MISSING",
      hint: /signing-key-file.*keygen/,
    });
    rig.fake.next("complete").reply(413, { body: "no" });
    await assert.rejects(rig.push(sample), { code: "UPLOAD_REJECTED" });
  });

  it("does not take the page of a gateway for a want of a key", async () => {
    await using rig = await createCachixRig();
    await rig.cache.info(signal);
    rig.fake.next("complete").reply(400, { body: "<html><body>unsigned</body></html>" });
    await assert.rejects(rig.push(sample), ({ code, hint }: HandpickError) => {
      assert.equal(code, "UPLOAD_REJECTED");
      assert.doesNotMatch(hint ?? "", /signing-key-file/);
      return true;
    });
  });

  it("accepts any 2xx", async () => {
    await using rig = await createCachixRig();
    rig.fake.next("complete").reply(204, { takeEffect: true });
    await rig.push(sample);
    assert.equal(rig.fake.of("complete").length, 1);
  });

  it("waits a moment for the answer when it is stopped, and no longer", async () => {
    await using rig = await createCachixRig({ abortMs: 300 });
    const reason = new Error("stop");
    for (const isLate of [false, true]) {
      const upload = await rig.begin(sample);
      const script = rig.fake.next("complete");
      const release = script.hold();
      const stop = new AbortController();
      const pending = upload.publish(sample.packed, stop.signal);
      await script.arrived;
      stop.abort(reason);
      if (isLate) await assert.rejects(pending, reason);
      release();
      if (!isLate) await pending;
      await upload.abort();
    }
    assert.equal(rig.fake.of("abort").length, 0);
    assert.equal(rig.fake.of("complete").length, 2);
  });

  it("asks for no publication once it is stopped, and gives the upload up", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    const reason = new Error("stop");
    await assert.rejects(upload.publish(sample.packed, AbortSignal.abort(reason)), reason);
    await upload.abort();
    assert.deepEqual([rig.fake.of("complete").length, rig.fake.of("abort").length], [0, 1]);
  });

  it("is not given up where a stop comes before it is known whether it took effect", async () => {
    for (const lose of ["cut", 524] as const) {
      await using rig = await createCachixRig();
      const upload = await rig.begin(sample);
      const script = rig.fake.next("complete");
      if (lose === "cut") script.cut({ takeEffect: true });
      else script.reply(lose, { takeEffect: true });
      const question = rig.fake.next("missing");
      question.hold();
      const stop = new AbortController();
      const reason = new Error("stop");
      const pending = upload.publish(sample.packed, stop.signal);
      await question.arrived;
      stop.abort(reason);
      await assert.rejects(pending, reason);
      await upload.abort();
      assert.equal(rig.fake.of("abort").length, 0, `${lose}`);
    }
  });

  it("is not given up where a second call is refused and nobody tells whether the first took effect", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    rig.fake.next("complete").cut();
    rig.fake.next("complete").reply(404, { body: "Gone.", takeEffect: true });
    rig.fake.next("missing"); // says that it is missing: the first is under way yet
    rig.fake.next("missing").reply(400);
    await assert.rejects(upload.publish(sample.packed, signal), { code: "UPLOAD_REJECTED" });
    await upload.abort();
    assert.equal(rig.fake.of("abort").length, 0);
  });

  it("is given up where the last question tells that it took no effect", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    for (let count = 0; count < 10; count++) rig.fake.next("complete").cut();
    await assert.rejects(upload.publish(sample.packed, signal), { code: "NETWORK" });
    await upload.abort();
    assert.equal(rig.fake.of("abort").length, 1);
  });

  it("is given up after an answer that it is not acceptable", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    rig.fake.next("complete").reply(413);
    await assert.rejects(upload.publish(sample.packed, signal), { code: "UPLOAD_REJECTED" });
    await upload.abort();
    assert.equal(rig.fake.of("abort").length, 1);
  });
});

describe("abort() of a Cachix upload", () => {
  it("tries on other connections when several turn out to be closed", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    for (let count = 0; count < 4; count++) rig.fake.next("abort").cut();
    await upload.abort();
    assert.equal(rig.fake.of("abort").length, 5);
  });

  it("tells the service once", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    await Promise.all([upload.abort(), upload.abort()]);
    await upload.abort();
    assert.equal(rig.fake.of("abort").length, 1);
    assert.equal(rig.fake.of("abort")[0]?.headers["content-length"], "0");
    assert.equal(rig.fake.service.openUploads, 0);
  });

  it("tells nothing after a publish", async () => {
    await using rig = await createCachixRig();
    const upload = await rig.begin(sample);
    await upload.publish(sample.packed, signal);
    await upload.abort();
    assert.equal(rig.fake.of("abort").length, 0);
  });

  it("never throws, and repeats once what got no answer", async () => {
    await using rig = await createCachixRig();
    for (const failure of ["cut", "503"]) {
      const upload = await rig.begin(sample);
      if (failure === "cut") rig.fake.next("abort").cut();
      else rig.fake.next("abort").reply(503);
      await upload.abort();
    }
    assert.equal(rig.fake.of("abort").length, 3);
    assert.equal(rig.fake.service.openUploads, 1);
    assert.deepEqual(rig.clock.sleeps, []);
  });

  it("does not wait for a service that does not answer", async () => {
    await using rig = await createCachixRig({ abortMs: 10 });
    const upload = await rig.begin(sample);
    const release = rig.fake.next("abort").hold();
    await upload.abort();
    release();
  });
});
