import { createFakeClock } from "../../../test/fakes/clock.ts";
import { startFakeCachix } from "../../../test/fakes/cachix.ts";
import { httpFailures, TIMEOUTS } from "../../../test/http-failures.ts";
import { Secret } from "../../secret.ts";
import { openCache } from "../open-cache.ts";

const TOKEN = "fake-token";

httpFailures({
  name: "createCachixCache()",
  isBelieved: ({ target }) => target.includes("/complete"),
  async setup() {
    const fake = await startFakeCachix();
    return {
      target: fake.url,
      open: (proxyUrl) =>
        openCache({
          name: "mine",
          url: `cachix://${fake.cacheName}`,
          host: proxyUrl,
          token: new Secret(TOKEN),
          env: {},
          clock: createFakeClock(),
          timeouts: TIMEOUTS,
        }),
      isServed: async (hashPart) => fake.service.isVisible(hashPart),
      storage: {
        target: fake.service.storageUrl,
        use: (proxyUrl) => void (fake.service.storageUrl = proxyUrl),
      },
      secrets: [TOKEN],
      [Symbol.asyncDispose]: () => fake.close(),
    };
  },
});
