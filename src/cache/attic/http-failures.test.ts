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
    // A stream that was sent is gone; what happens to it passes, so that the next run sends it again.
    isOnce: ({ method }) => method === "PUT" && keptBytes === 0,
    async setup() {
      const fake = await startFakeAttic();
      return {
        target: fake.url,
        open: (host) =>
          createAtticCache({
            name: "mine",
            server: "unused.example",
            host,
            cacheName: fake.cacheName,
            token: new Secret(TOKEN),
            env: {},
            clock: createFakeClock(),
            timeouts: TIMEOUTS,
            keptBytes,
          }),
        isServed: async (hashPart) => {
          const response = await fetch(`${fake.url}/${fake.cacheName}/${hashPart}.narinfo`);
          await response.arrayBuffer();
          return response.ok;
        },
        secrets: [TOKEN],
        [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
      };
    },
  });
}
