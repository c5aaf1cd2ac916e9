import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { before, describe, it } from "node:test";

import { createS3Rig, FAKE_S3_ENV, type S3Rig } from "../../../test/s3-rig.ts";
import { sampleUpload } from "../../../test/sample-upload.ts";
import { SIGNING_KEYS } from "../../../test/signed.ts";
import { encodeBase32 } from "../../nix/base32.ts";
import { type HashPart, hashPartOf } from "../../nix/store-path.ts";
import { narInfoName } from "../binary-cache.ts";

const { signal } = new AbortController();

before(() => void Object.assign(process.env, FAKE_S3_ENV));

/** Hash parts spread as those of store paths are. */
function hashParts(seed: string, count: number): HashPart[] {
  return Array.from({ length: count }, (_, index) => {
    const digest = createHash("sha256").update(`${seed} ${index}`).digest();
    return encodeBase32(digest.subarray(0, 20)) as HashPart;
  });
}

function fill({ fake }: S3Rig, hashes: Iterable<HashPart>, text = "x"): void {
  const bytes = Buffer.from(text);
  for (const hash of hashes) fake.objects.set(narInfoName(hash), { bytes, headers: {} });
}

const countsOf = ({ fake }: S3Rig): [lists: number, reads: number] => [
  fake.countOf("ListObjectsV2"),
  fake.countOf("GetObject"),
];

describe("missing() in a bucket", () => {
  it("reads the narinfos of few paths", async () => {
    await using rig = await createS3Rig();
    const asked = hashParts("few", 200);
    assert.deepEqual(await rig.cache.missing(asked, signal), new Set(asked));
    assert.deepEqual(countsOf(rig), [0, 200]);
  });

  it("lists for thousands, a page after the other, by first letters", async () => {
    await using rig = await createS3Rig();
    rig.fake.pageSize = 20;
    const [there, lacking] = [hashParts("there", 1500), hashParts("lacking", 1500)];
    fill(rig, there);
    const missing = await rig.cache.missing([...there, ...lacking], signal);
    assert.deepEqual(missing, new Set(lacking));
    const [lists, reads] = countsOf(rig);
    assert.equal(reads, 0);
    assert.ok(lists >= 32 && lists < 200, `${lists} lists`);
  });

  it("gives a list up whose pages hold too few of them, and reads the rest", async () => {
    await using rig = await createS3Rig();
    rig.fake.pageSize = 10;
    const [there, lacking] = [hashParts("there", 20_000), hashParts("lacking", 1000)];
    fill(rig, there, "something else");
    const asked = [...lacking, ...there.slice(0, 100)];
    const missing = await rig.cache.missing(asked, signal);
    // Where a list was given up, objects were read one by one, and those of this test are no narinfos.
    assert.ok(missing.size >= 1000 && missing.size <= 1100);
    const [lists, reads] = countsOf(rig);
    assert.ok(lists <= 64, `${lists} lists`);
    assert.ok(reads > 900, `${reads} reads`);
  });

  it("takes nothing from a list but absence where we sign, since signatures count", async () => {
    await using rig = await createS3Rig({ keys: SIGNING_KEYS });
    const lacking = hashParts("lacking", 1000);
    const signatures = [`a:${"A".repeat(86)}==`];
    const [signed, unsigned] = [
      sampleUpload({ name: "signed", signatures }),
      sampleUpload({ name: "unsigned" }),
    ];
    for (const { request, parts, packed } of [signed, unsigned]) {
      const upload = await rig.cache.beginUpload(request, signal);
      for (const part of parts) await upload.putPart(part, signal);
      await upload.publish(packed, signal);
    }
    const before = rig.fake.countOf("GetObject");
    const hashes = [signed, unsigned].map(({ storePath }) => hashPartOf(storePath));
    const missing = await rig.cache.missing([...hashes, ...lacking], signal);
    assert.deepEqual(missing, new Set([...hashes.slice(1), ...lacking]));
    assert.equal(rig.fake.countOf("GetObject") - before, 2);
  });

  it("counts an empty narinfo in a list as missing", async () => {
    await using rig = await createS3Rig();
    const asked = hashParts("asked", 1000);
    fill(rig, asked.slice(1));
    fill(rig, asked.slice(0, 1), "");
    assert.deepEqual(await rig.cache.missing(asked, signal), new Set(asked.slice(0, 1)));
  });

  it("lists in the folder of a prefix", async () => {
    await using rig = await createS3Rig({ parameters: "&prefix=nix/mine" });
    const [elsewhere, here] = [hashParts("elsewhere", 600), hashParts("here", 600)];
    fill(rig, elsewhere);
    for (const hash of here) {
      const object = { bytes: Buffer.from("x"), headers: {} };
      rig.fake.objects.set(`nix/mine/${narInfoName(hash)}`, object);
    }
    const missing = await rig.cache.missing([...elsewhere, ...here], signal);
    assert.deepEqual(missing, new Set(elsewhere));
  });

  it("reads where the policy lets nobody list", async () => {
    await using rig = await createS3Rig();
    const asked = hashParts("asked", 1000);
    for (let letter = 0; letter < 32; letter++) {
      rig.fake.faults.push({ operation: "ListObjectsV2", status: 403, code: "AccessDenied" });
    }
    assert.deepEqual(await rig.cache.missing(asked, signal), new Set(asked));
    assert.equal(rig.fake.countOf("GetObject"), 1000);
  });
});
