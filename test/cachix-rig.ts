import assert from "node:assert/strict";

import type { Cache } from "../src/cache/contract.ts";
import { createCachixCache } from "../src/cache/cachix/cachix-cache.ts";
import type { CachixCacheOptions } from "../src/cache/cachix/cachix-cache.ts";
import { startFakeCachix } from "./fakes/cachix.ts";
import type { FakeCachix } from "./fakes/cachix.ts";
import { createFakeClock } from "./fakes/clock.ts";
import type { FakeClock } from "./fakes/clock.ts";
import { type Uploads, uploadsTo } from "./uploads-to.ts";
import { Secret } from "../src/secret.ts";

/** A Cachix cache that never waits, and the fake it speaks to. */
export interface CachixRig extends AsyncDisposable, Uploads {
  readonly fake: FakeCachix;
  readonly cache: Cache;
  readonly clock: FakeClock;
  readonly signal: AbortSignal;
}

export async function createCachixRig(
  options: Partial<CachixCacheOptions> = {},
): Promise<CachixRig> {
  const fake = await startFakeCachix();
  const clock = createFakeClock();
  const { signal } = new AbortController();
  const cache = createCachixCache({
    name: "mine",
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
    signal,
    ...uploadsTo(cache, signal),
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await fake.close();
      assert.deepEqual(fake.violations, []);
    },
  };
}
