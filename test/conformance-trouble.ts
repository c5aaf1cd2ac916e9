import assert from "node:assert/strict";
import { it } from "node:test";

import { systemClock } from "../src/clock.ts";
import { HandpickError } from "../src/error.ts";
import {
  type DiskTraits,
  hashOf,
  isMissing,
  sampleFor,
  type Setup,
  signal,
} from "./conformance-rig.ts";
import { createFakeClock } from "./fakes/clock.ts";
import { publishSample } from "./sample-upload.ts";
import { remount, smallDisk } from "./small-disk.ts";

const DAY_MS = 24 * 60 * 60_000;
const DISK_BYTES = 4 << 20;

/** Clocks of clients that are wrong. */
const CLOCKS: Readonly<Record<string, () => number>> = {
  "that is a day behind": () => Date.now() - DAY_MS,
  "that is a day ahead": () => Date.now() + DAY_MS,
  "that stands at 1970": () => 0,
};

/** What goes wrong around a cache: clocks, credentials, disks and contents. */
export function testTrouble(setup: Setup, disk: DiskTraits | undefined): void {
  testClocks(setup);
  testCredentials(setup);
  testContents(setup);
  testDisk(setup, disk);
}

function testClocks(setup: Setup): void {
  for (const [which, now] of Object.entries(CLOCKS)) {
    it(`takes paths by a clock ${which}`, async () => {
      await using rig = await setup({ clock: { ...systemClock, now } });
      const sample = sampleFor(rig.cache, { name: "clock" });
      await rig.cache.info(signal);
      for (const _again of [false, true]) {
        await publishSample(rig.cache, sample);
        assert.equal(await rig.isServed(hashOf(sample)), true);
        assert.equal(await isMissing(rig.cache, sample), false);
      }
    });
  }
}

function testCredentials(setup: Setup): void {
  it("stops with credentials that are revoked in the middle, and goes on with new ones", async (t) => {
    await using rig = await setup();
    if (rig.revoke === undefined) return t.skip("nobody revokes credentials of this backend");
    const [before, during] = ["before", "during"].map((name) => sampleFor(rig.cache, { name }));
    assert.ok(before && during);
    await publishSample(rig.cache, before);
    const upload = await rig.cache.beginUpload(during.request, signal);
    const [part] = during.parts;
    assert.ok(part);
    await upload.putPart(part, signal);
    await using renewed = await rig.revoke();
    await assert.rejects(upload.publish(during.packed, signal), isRefusal);
    await upload.abort();
    assert.equal(await rig.isServed(hashOf(during)), false);
    await publishSample(renewed, during);
    assert.deepEqual(await renewed.missing([before, during].map(hashOf), signal), new Set());
    assert.equal(await rig.isServed(hashOf(during)), true);
  });
}

function testContents(setup: Setup): void {
  it("takes no path whose NAR has another hash, where the cache looks at NARs", async (t) => {
    await using rig = await setup();
    if (rig.checksNars !== true) return t.skip("this backend leaves that to the push");
    const { narHash } = sampleFor(rig.cache, { name: "other" }).request.info;
    const wrong = sampleFor(rig.cache, { name: "wrong", info: { narHash } });
    await assert.rejects(publishSample(rig.cache, wrong), { code: "UPLOAD_REJECTED" });
    assert.equal(await rig.isServed(hashOf(wrong)), false);
    assert.equal(await isMissing(rig.cache, wrong), true);
    const right = sampleFor(rig.cache, { name: "wrong" });
    await publishSample(rig.cache, right);
    assert.equal(await rig.isServed(hashOf(right)), true);
  });
}

function testDisk(setup: Setup, traits: DiskTraits | undefined): void {
  const skip = traits === undefined && "this backend keeps nothing on a disk of ours";

  it(
    "tells that the disk of the cache is full, and goes on once there is room",
    { skip },
    async (t) => {
      await using disk = await smallDisk(DISK_BYTES);
      if (disk === undefined) return t.skip("this user may not mount");
      await using rig = await setup({ disk: disk.dir, clock: createFakeClock(Date.now()) });
      const partBytes = Math.max(rig.cache.traits.parts.minBytes, DISK_BYTES);
      const large = sampleFor(rig.cache, { name: "large", parts: 2, partBytes });
      await assert.rejects(publishSample(rig.cache, large), isTold);
      assert.equal(await rig.isServed(hashOf(large)), false);
      remount(disk.dir, `size=${16 * partBytes}`);
      await publishSample(rig.cache, large);
      assert.equal(await rig.isServed(hashOf(large)), true);
    },
  );

  const held = traits?.isHeld === true && "the server holds files open, so its disk stays writable";
  it(
    "tells that the disk of the cache is read-only, and goes on once it is not",
    { skip: skip || held },
    async (t) => {
      await using disk = await smallDisk(DISK_BYTES);
      if (disk === undefined) return t.skip("this user may not mount");
      await using rig = await setup({ disk: disk.dir, clock: createFakeClock(Date.now()) });
      const [before, after] = ["before", "after"].map((name) => sampleFor(rig.cache, { name }));
      assert.ok(before && after);
      await publishSample(rig.cache, before);
      remount(disk.dir, "ro");
      await assert.rejects(publishSample(rig.cache, after), isTold);
      assert.equal(await rig.isServed(hashOf(after)), false);
      assert.equal(await rig.isServed(hashOf(before)), true);
      remount(disk.dir, "rw");
      await publishSample(rig.cache, after);
      assert.equal(await rig.isServed(hashOf(after)), true);
    },
  );
}

/** An error for people. */
function isTold(error: unknown): boolean {
  assert.ok(error instanceof HandpickError, String(error));
  assert.match(error.message, /^Cannot /);
  return true;
}

function isRefusal(error: unknown): boolean {
  isTold(error);
  // Cachix answers the same to a token that it does not know and for a cache that it does not have.
  assert.match((error as HandpickError).code, /^(?:CACHE_REFUSED|CACHE_NOT_FOUND)$/);
  return true;
}
