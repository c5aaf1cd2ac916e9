import assert from "node:assert/strict";

import { cacheConformance } from "../../../test/cache-conformance.ts";
import { startFakeCachix } from "../../../test/fakes/cachix.ts";
import { openCache } from "../open-cache.ts";
import { Secret } from "../../secret.ts";

cacheConformance({
  name: "createCachixCache()",
  async setup() {
    const fake = await startFakeCachix();
    const cache = await openCache({
      name: "mine",
      url: `cachix://${fake.cacheName}`,
      host: fake.url,
      token: new Secret("fake-token"),
      env: {},
    });
    return {
      cache,
      isServed: async (hashPart) => fake.service.isVisible(hashPart),
      async [Symbol.asyncDispose]() {
        await cache[Symbol.asyncDispose]();
        await fake.close();
        assert.deepEqual(fake.violations, []);
      },
    };
  },
});
