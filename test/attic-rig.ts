import assert from "node:assert/strict";

import { type AtticCacheOptions, createAtticCache } from "../src/cache/attic/attic-cache.ts";
import type { Cache, Upload } from "../src/cache/contract.ts";
import { Secret } from "../src/secret.ts";
import { type FakeAttic, startFakeAttic } from "./fakes/attic.ts";
import { createFakeClock, type FakeClock } from "./fakes/clock.ts";
import type { SampleUpload } from "./sample-upload.ts";

/** A cache of an Attic server that never waits, and the fake it speaks to. */
export interface AtticRig extends AsyncDisposable {
  readonly fake: FakeAttic;
  readonly cache: Cache;
  readonly clock: FakeClock;
  /** Begins an upload and puts all parts. */
  begin(sample: SampleUpload): Promise<Upload>;
  /** The whole way of one path. */
  push(sample: SampleUpload): Promise<void>;
}

export async function createAtticRig(options: Partial<AtticCacheOptions> = {}): Promise<AtticRig> {
  const fake = await startFakeAttic();
  const clock = createFakeClock();
  const { signal } = new AbortController();
  const cache = createAtticCache({
    name: "mine",
    server: "unused.example",
    cacheName: fake.cacheName,
    host: fake.url,
    token: new Secret("fake-token"),
    env: {},
    random: () => 0,
    clock,
    ...options,
  });
  const begin = async ({ request, parts }: SampleUpload): Promise<Upload> => {
    const upload = await cache.beginUpload(request, signal);
    for (const part of parts) await upload.putPart(part, signal);
    return upload;
  };
  return {
    fake,
    cache,
    clock,
    begin,
    push: async (sample) => (await begin(sample)).publish(sample.packed, signal),
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
      assert.deepEqual(fake.service.violations, []);
    },
  };
}
