import assert from "node:assert/strict";
import { before, describe, it } from "node:test";

import type { S3Operation } from "../../../test/fakes/s3.ts";
import { createS3Rig, FAKE_S3_ENV, type S3Rig } from "../../../test/s3-rig.ts";
import type { CacheFile, CachePruner } from "../pruner.ts";

const { signal } = new AbortController();
const DAY_MS = 24 * 60 * 60_000;

before(() => void Object.assign(process.env, FAKE_S3_ENV));

function prunerOf({ cache }: S3Rig): CachePruner {
  return cache.pruner ?? assert.fail("a bucket is pruned");
}

/** Puts an object there, and returns it as it is listed. */
async function listed(rig: S3Rig, name: string, text = "old"): Promise<CacheFile> {
  const modifiedMs = Date.now() - 90 * DAY_MS;
  rig.fake.objects.set(name, { bytes: Buffer.from(text), modifiedMs, headers: {} });
  const { files } = await prunerOf(rig).list(signal);
  return files.find((file) => file.name === name) ?? assert.fail(`${name} is not listed`);
}

const conditionsOf = ({ fake }: S3Rig, operation: S3Operation): (string | undefined)[] =>
  fake.requests
    .filter((request) => request.operation === operation)
    .map(({ headers }) => headers["if-match"]);

describe("the pruner of a bucket", () => {
  it("lists all of it, page by page, by the clock of the server", async () => {
    await using rig = await createS3Rig();
    rig.fake.pageSize = 3;
    rig.fake.skewMs = -10 * 60_000;
    const names = Array.from({ length: 10 }, (_, number) => `nar/${number}.nar`);
    for (const name of [...names, "nix-cache-info", "log/x.drv"]) {
      rig.fake.objects.set(name, { bytes: Buffer.from(name), headers: {} });
    }
    const { files, nowMs } = await prunerOf(rig).list(signal);
    assert.deepEqual(
      files.map(({ name }) => name),
      ["log/x.drv", ...names, "nix-cache-info"],
    );
    assert.equal(rig.fake.countOf("ListObjectsV2"), 4);
    assert.ok(Math.abs(nowMs - (Date.now() - 10 * 60_000)) < 60_000);
  });

  it("believes no list that is cut without an end", async () => {
    await using rig = await createS3Rig();
    const body = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    rig.fake.faults.push({ operation: "ListObjectsV2", status: 200, body });
    await assert.rejects(prunerOf(rig).list(signal), { code: "CACHE_PROTOCOL", message: /is cut/ });
  });

  it("lists nothing outside of its prefix", async () => {
    await using rig = await createS3Rig({ parameters: "&prefix=mine" });
    for (const name of ["mine/nar/a.nar", "other/nar/a.nar", "mineral/nar/a.nar", "nar/a.nar"]) {
      rig.fake.objects.set(name, { bytes: Buffer.from(name), headers: {} });
    }
    const { files } = await prunerOf(rig).list(signal);
    assert.deepEqual(
      files.map(({ name }) => name),
      ["nar/a.nar"],
    );
  });

  it("removes an object on the condition that it is the one that was listed", async () => {
    await using rig = await createS3Rig();
    const file = await listed(rig, "nar/a.nar");
    assert.equal(await prunerOf(rig).remove(file, signal), true);
    assert.equal(rig.fake.objects.has("nar/a.nar"), false);
    assert.deepEqual(conditionsOf(rig, "DeleteObject"), [file.version]);
    assert.equal(await prunerOf(rig).remove(file, signal), true);
  });

  it("leaves one that was written again, with the same bytes too", async () => {
    await using rig = await createS3Rig();
    for (const text of ["new", "old"]) {
      const file = await listed(rig, "nar/a.nar");
      const modifiedMs = Date.now();
      rig.fake.objects.set("nar/a.nar", { bytes: Buffer.from(text), modifiedMs, headers: {} });
      assert.equal(await prunerOf(rig).remove(file, signal), false, text);
    }
    assert.equal(rig.fake.countOf("DeleteObject"), 0);
  });

  it("leaves one that is written again between its last look and the removal", async () => {
    await using rig = await createS3Rig();
    const file = await listed(rig, "nar/a.nar");
    const arrived = rig.fake.next("DeleteObject");
    const written = arrived.then(() => {
      rig.fake.objects.set("nar/a.nar", { bytes: Buffer.from("new"), headers: {} });
    });
    rig.fake.faults.push({ operation: "DeleteObject", until: written });
    assert.equal(await prunerOf(rig).remove(file, signal), false);
    assert.equal(rig.fake.objects.get("nar/a.nar")?.bytes.toString(), "new");
  });

  it("removes without a condition where the server knows none, and asks for none again", async () => {
    await using rig = await createS3Rig();
    rig.fake.knowsConditions = false;
    for (const name of ["nar/a.nar", "nar/b.nar"]) {
      assert.equal(await prunerOf(rig).remove(await listed(rig, name), signal), true);
    }
    const [first, ...others] = conditionsOf(rig, "DeleteObject");
    assert.equal(typeof first, "string");
    assert.deepEqual(others, [undefined, undefined]);
    assert.equal(rig.fake.objects.size, 0);
  });

  it("takes an answer that was lost for what it was", async () => {
    await using rig = await createS3Rig();
    const file = await listed(rig, "nar/a.nar");
    rig.fake.faults.push({ operation: "DeleteObject", isLost: true });
    assert.equal(await prunerOf(rig).remove(file, signal), true);
    assert.equal(rig.fake.objects.size, 0);
  });

  it("says that these credentials may not", async () => {
    await using rig = await createS3Rig();
    const file = await listed(rig, "nar/a.nar");
    rig.fake.faults.push({ operation: "DeleteObject", status: 403, code: "AccessDenied" });
    await assert.rejects(prunerOf(rig).remove(file, signal), {
      code: "CACHE_REFUSED",
      message: /^Cannot remove "nar\/a\.nar" of cache "mine": /,
    });
    assert.equal(rig.fake.objects.size, 1);
  });
});
