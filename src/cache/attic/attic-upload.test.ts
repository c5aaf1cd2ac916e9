import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { type AtticRig, createAtticRig } from "../../../test/attic-rig.ts";
import { samplePart, sampleUpload, type SampleUpload } from "../../../test/sample-upload.ts";
import { hashPartOf } from "../../nix/store-path.ts";
import type { UploadPart } from "../contract.ts";

const { signal } = new AbortController();
const small = sampleUpload({ name: "small", compression: "none" });
/** 12 parts of 256 KiB, and a rest. */
const large = sampleUpload({
  name: "large",
  compression: "none",
  contents: randomBytes(3 << 20),
  parts: 13,
});
const STREAMING = { keptBytes: 0 };
/** Where all of the first part was read, and no more than a part of the second. */
const IN_SECOND_PART = 300 << 10;

function uploads({ fake }: AtticRig): number {
  return fake.of("upload").length;
}

function isVisible({ fake }: AtticRig, { storePath }: SampleUpload): boolean {
  return fake.service.published.has(hashPartOf(storePath));
}

describe("an upload of a small NAR", () => {
  it("is one request, whose end publishes it", async () => {
    await using rig = await createAtticRig();
    const upload = await rig.begin(small);
    assert.deepEqual(rig.fake.requests, []);
    await upload.publish(small.packed, signal);
    assert.deepEqual([uploads(rig), isVisible(rig, small)], [1, true]);
  });

  it("is sent again after 429, 5xx and a cut connection", async () => {
    await using rig = await createAtticRig();
    rig.fake.next("upload").reply(429);
    rig.fake.next("upload").reply(502);
    rig.fake.next("upload").cut({ afterBytes: 100 });
    await rig.push(small);
    assert.deepEqual([uploads(rig), isVisible(rig, small)], [4, true]);
    assert.equal(rig.clock.sleeps.length, 3);
  });

  it("is not sent again where it arrived and the answer was lost", async () => {
    for (const keptBytes of [undefined, 0]) {
      await using rig = await createAtticRig({ keptBytes });
      rig.fake.next("upload").cut({ takeEffect: true });
      await rig.push(small);
      rig.fake.next("upload").reply(504, { takeEffect: true });
      await rig.push(sampleUpload({ name: "other", compression: "none" }));
      assert.deepEqual([uploads(rig), rig.fake.of("missing").length], [2, 2]);
    }
  });

  it("fails for itself where the server does not take it", async () => {
    for (const keptBytes of [undefined, 0]) {
      await using rig = await createAtticRig({ keptBytes });
      const body = { code: 400, error: "RequestError", message: "Bad NAR Hash or Size" };
      rig.fake.next("upload").reply(400, { body });
      await assert.rejects(rig.push(small), { code: "UPLOAD_REJECTED", message: /Bad NAR Hash/ });
      rig.fake.next("upload").reply(413, { body: "too large" });
      await assert.rejects(rig.push(small), { code: "UPLOAD_REJECTED", hint: /limit for bodies/ });
      rig.fake.next("upload").reply(401, { body: {} });
      await assert.rejects(rig.push(small), { code: "CACHE_REFUSED" });
      rig.fake.next("upload").reply(200, { body: "<html>log in</html>" });
      await assert.rejects(rig.push(small), { code: "CACHE_PROTOCOL", message: /a page of HTML/ });
      for (const body of [{ kind: "Refused" }, {}, [], "", "{"]) {
        rig.fake.next("upload").reply(200, { body });
        await assert.rejects(rig.push(small), { code: "CACHE_PROTOCOL" });
      }
      assert.equal(uploads(rig), 9);
    }
  });

  it("is given up at once where the signal is aborted, and a request that was sent gets a moment", async () => {
    for (const keptBytes of [undefined, 0]) {
      await using rig = await createAtticRig({ keptBytes, abortMs: 20 });
      const stop = new AbortController();
      const script = rig.fake.next("upload");
      script.hold();
      const upload = await rig.begin(small);
      const publishing = upload.publish(small.packed, stop.signal);
      await script.arrived;
      stop.abort(new Error("stop"));
      await assert.rejects(publishing, /^Error: stop$/);
      const late = rig.fake.next("upload");
      const release = late.hold();
      const second = await rig.begin(small);
      const again = new AbortController();
      const succeeding = second.publish(small.packed, again.signal);
      await late.arrived;
      again.abort(new Error("stop"));
      release();
      await succeeding;
      assert.equal(isVisible(rig, small), true);
    }
  });

  it("leaves room for others when it is over, and is streamed where there is none", async () => {
    await using rig = await createAtticRig({ keptBytes: 600 });
    const held = await rig.begin(small);
    // There is no room for a second one, so this has begun to go already, and cannot be sent again.
    rig.fake.next("upload").reply(503);
    const other = sampleUpload({ name: "other", compression: "none" });
    await assert.rejects(rig.push(other), { code: "UPLOAD_INTERRUPTED" });
    await held.abort();
    rig.fake.next("upload").reply(503);
    await rig.push(other);
    assert.equal(isVisible(rig, other), true);
  });
});

describe("an upload of a large NAR", () => {
  it("is one request of known size, whose end waits for the publication", async () => {
    await using rig = await createAtticRig();
    const upload = await rig.begin(large);
    await upload.publish(large.packed, signal);
    const [request] = rig.fake.of("upload");
    const size = Number(request?.headers["content-length"]);
    assert.equal(size, request?.body.length);
    assert.equal(request?.headers["transfer-encoding"], undefined);
    assert.equal(isVisible(rig, large), true);
  });

  it("does not use the memory of a part that was taken", async () => {
    await using rig = await createAtticRig();
    const upload = await rig.cache.beginUpload(large.request, signal);
    const memory = new Uint8Array(1 << 20);
    for (const part of large.parts) {
      const bytes = memory.subarray(0, part.bytes.length);
      bytes.set(part.bytes);
      await upload.putPart({ ...part, bytes }, signal);
      memory.fill(0);
    }
    await upload.publish(large.packed, signal);
    assert.equal(isVisible(rig, large), true);
  });

  it("begins again while its first part is there", async () => {
    await using rig = await createAtticRig(STREAMING);
    rig.fake.next("upload").cut({ afterBytes: 100 });
    rig.fake.next("upload").replyEarly(503);
    const one = { ...large, parts: [samplePart(1, large.file)] };
    await rig.push(one);
    assert.deepEqual([rig.clock.sleeps.length, isVisible(rig, large)], [2, true]);
  });

  it("fails for a reason that passes, and for itself, when it is cut off later", async () => {
    await using rig = await createAtticRig(STREAMING);
    rig.fake.next("upload").cut({ afterBytes: IN_SECOND_PART });
    await assert.rejects(rig.push(large), { code: "UPLOAD_INTERRUPTED", hint: /^Push again/ });
    rig.fake.next("upload").reply(502);
    await assert.rejects(rig.push(large), { code: "UPLOAD_INTERRUPTED", message: /received 502/ });
    assert.equal(isVisible(rig, large), false);
    await rig.push(large);
    assert.equal(isVisible(rig, large), true);
  });

  it("ends at once where the server answers before its end", async () => {
    await using rig = await createAtticRig(STREAMING);
    rig.fake.next("upload").replyEarly(403, { body: {} });
    await assert.rejects(rig.push(large), { code: "CACHE_REFUSED" });
    rig.fake.next("upload").replyEarly(413);
    await assert.rejects(rig.push(large), { code: "UPLOAD_REJECTED" });
    rig.fake.next("upload").replyEarly(200, { body: { kind: "Uploaded" } });
    await assert.rejects(rig.push(large), {
      code: "CACHE_PROTOCOL",
      message: /received one before/,
    });
  });

  it("publishes nothing when it is given up after its last part", async () => {
    await using rig = await createAtticRig(STREAMING);
    const script = rig.fake.next("upload");
    const upload = await rig.begin(large);
    await upload.abort();
    assert.notEqual((await script.arrived).body.length, large.file.length);
    assert.equal(isVisible(rig, large), false);
    await rig.push(large);
    assert.equal(isVisible(rig, large), true);
  });

  it("lets go of a part whose signal is aborted while the server takes no more", async () => {
    await using rig = await createAtticRig(STREAMING);
    const stop = new AbortController();
    const stalled = rig.fake.next("upload").stall(1000);
    const upload = await rig.cache.beginUpload(huge.request, signal);
    const putting = upload.putPart(huge.parts[0] as UploadPart, stop.signal);
    await stalled;
    stop.abort(new Error("stop"));
    await assert.rejects(putting, /^Error: stop$/);
    await upload.abort();
  });

  it("takes no NAR of another size than the one that was announced", async () => {
    for (const keptBytes of [undefined, 0]) {
      await using rig = await createAtticRig({ keptBytes });
      const short = await rig.cache.beginUpload(small.request, signal);
      await short.putPart(samplePart(1, small.file.subarray(1)), signal);
      const message = /expected 136 bytes, received 135$/;
      await assert.rejects(short.publish({ ...small.packed, fileSize: 135 }, signal), { message });
      await assert.rejects(short.publish(small.packed, signal), { message });
      await short.abort();
      const long = await rig.begin(small);
      const more = long.putPart(samplePart(2, Buffer.of(1)), signal);
      await assert.rejects(more, { code: "UPLOAD_REJECTED", message: /received 137$/ });
      await long.abort();
      assert.equal(isVisible(rig, small), false);
    }
  });
});

/** More than the system takes for a server that reads nothing. */
const huge = sampleUpload({
  name: "huge",
  compression: "none",
  contents: Buffer.alloc(64 << 20),
});
