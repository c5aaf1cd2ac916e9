import { startFakeAttic } from "../../../test/fakes/attic.ts";
import { createFakeClock } from "../../../test/fakes/clock.ts";
import { httpFailures, TIMEOUTS } from "../../../test/http-failures.ts";
import { Secret } from "../../secret.ts";
import { createAtticCache } from "./attic-cache.ts";

const TOKEN = "fake-token";

for (const [way, keptBytes] of [
  ["whole NARs", undefined],
  ["streams", 0],
] as const) {
  httpFailures({
    name: `createAtticCache(), which sends ${way},`,
    compression: "none",
    isOnce: ({ method }) => keptBytes === 0 && method === "PUT",
    async setup() {
      const fake = await startFakeAttic();
      return {
        target: fake.url,
        open: (proxyUrl) =>
          createAtticCache({
            name: "mine",
            server: "unused.example",
            cacheName: fake.cacheName,
            host: proxyUrl,
            token: new Secret(TOKEN),
            keptBytes,
            env: {},
            clock: createFakeClock(),
            timeouts: TIMEOUTS,
          }),
        isServed: async (hashPart) => fake.service.published.has(hashPart),
        secrets: [TOKEN],
        [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
      };
    },
  });
}
