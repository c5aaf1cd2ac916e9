import assert from "node:assert/strict";

import { cacheConformance } from "../../../test/cache-conformance.ts";
import { startFakeCachix } from "../../../test/fakes/cachix.ts";
import type { Cache } from "../contract.ts";
import { openCache } from "../open-cache.ts";
import { Secret } from "../../secret.ts";

cacheConformance({
  name: "createCachixCache()",
  async setup({ clock } = {}) {
    const fake = await startFakeCachix();
    const open = (token: string): Cache | Promise<Cache> =>
      openCache({
        name: "mine",
        url: `cachix://${fake.cacheName}`,
        host: fake.url,
        token: new Secret(token),
        clock,
        env: {},
      });
    const cache = await open("fake-token");
    return {
      cache,
      async revoke() {
        fake.service.token = "new-token";
        return await open("new-token");
      },
      isServed: async (hashPart) => fake.service.isVisible(hashPart),
      async [Symbol.asyncDispose]() {
        await cache[Symbol.asyncDispose]();
        await fake.close();
        assert.deepEqual(fake.violations, []);
      },
    };
  },
});
