import assert from "node:assert/strict";

import { type AtticCacheOptions, createAtticCache } from "../src/cache/attic/attic-cache.ts";
import type { Cache } from "../src/cache/contract.ts";
import { Secret } from "../src/secret.ts";
import { type FakeAttic, startFakeAttic } from "./fakes/attic.ts";
import { createFakeClock, type FakeClock } from "./fakes/clock.ts";
import { type Uploads, uploadsTo } from "./uploads-to.ts";

/** A cache of an Attic server that never waits, and the fake it speaks to. */
export interface AtticRig extends AsyncDisposable, Uploads {
  readonly fake: FakeAttic;
  readonly cache: Cache;
  readonly clock: FakeClock;
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
  return {
    fake,
    cache,
    clock,
    ...uploadsTo(cache, signal),
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
      assert.deepEqual(fake.service.violations, []);
    },
  };
}
