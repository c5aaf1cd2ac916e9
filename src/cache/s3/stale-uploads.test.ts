import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, it } from "node:test";

import { createS3Rig, FAKE_S3_ENV, type S3Rig } from "../../../test/s3-rig.ts";
import { publishSample, sampleUpload } from "../../../test/sample-upload.ts";

const HOUR = 60 * 60_000;
const LARGE = sampleUpload({ name: "large", parts: 2, partBytes: 5 << 20 });
const DIGEST = "0".repeat(52);

before(() => void Object.assign(process.env, FAKE_S3_ENV));

/** An upload that is under way at the server. */
function leave({ fake }: S3Rig, name: string, ages: { started: number; part?: number }): string {
  const id = randomUUID();
  const initiatedMs = Date.now() - ages.started;
  const part = { bytes: Buffer.alloc(1), modifiedMs: Date.now() - (ages.part ?? 0) };
  const parts = new Map(ages.part === undefined ? [] : [[1, part]]);
  fake.uploads.set(id, { name, initiatedMs, parts });
  return id;
}

/** Uploads that are left once a push of a large path has swept. */
async function leftAfterPush(rig: S3Rig): Promise<Set<string>> {
  await publishSample(rig.cache, LARGE);
  const { fake } = rig;
  // Whatever it asks, it asks after the list.
  while (fake.countOf("ListMultipartUploads") === 0) await new Promise(setImmediate);
  await rig.cache.missing([], new AbortController().signal);
  return new Set(fake.uploads.keys());
}

describe("a push of a large path", () => {
  it("gives uploads up that a killed push left, and no others", async () => {
    await using rig = await createS3Rig();
    const ours = `nar/${DIGEST}-${randomUUID()}.nar.zst`;
    const dead = [
      leave(rig, ours, { started: 25 * HOUR }),
      leave(rig, `nar/${DIGEST}-${randomUUID()}.nar`, { started: 50 * HOUR, part: 25 * HOUR }),
    ];
    const alive = [
      leave(rig, ours, { started: 23 * HOUR }),
      leave(rig, ours, { started: 50 * HOUR, part: HOUR }),
      leave(rig, `nar/${DIGEST}.nar.zst`, { started: 50 * HOUR }),
      leave(rig, "nar/backup", { started: 50 * HOUR }),
      leave(rig, ours.replace("nar/", "other/"), { started: 50 * HOUR }),
    ];
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const remove = rig.fake.uploads.delete.bind(rig.fake.uploads);
    let left = dead.length;
    rig.fake.uploads.delete = (id) => {
      if (dead.includes(id) && --left === 0) resolve(undefined);
      return remove(id);
    };
    await publishSample(rig.cache, LARGE);
    await promise;
    await rig.cache[Symbol.asyncDispose]();
    assert.deepEqual(new Set(rig.fake.uploads.keys()), new Set(alive));
  });

  it("does without where the policy lets nobody list uploads", async () => {
    await using rig = await createS3Rig();
    rig.fake.faults.push({ operation: "ListMultipartUploads", status: 403, code: "AccessDenied" });
    const id = leave(rig, `nar/${DIGEST}-${randomUUID()}.nar`, { started: 50 * HOUR });
    assert.deepEqual(await leftAfterPush(rig), new Set([id]));
  });

  it("ends although the list of uploads does not come", async () => {
    await using rig = await createS3Rig();
    const { promise: until, resolve } = Promise.withResolvers<undefined>();
    rig.fake.faults.push({ operation: "ListMultipartUploads", until });
    await publishSample(rig.cache, LARGE);
    await rig.cache[Symbol.asyncDispose]();
    resolve(undefined);
  });
});
