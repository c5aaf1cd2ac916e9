import assert from "node:assert/strict";
import { after, before, describe } from "node:test";

import { atticd, AtticServer } from "../../../test/attic-server.ts";
import { cacheConformance, type ConformanceRig } from "../../../test/cache-conformance.ts";
import { startFakeAttic } from "../../../test/fakes/attic.ts";
import type { HashPart, StorePath } from "../../nix/store-path.ts";
import { Secret } from "../../secret.ts";
import { openHttpReader } from "../http/http-reader.ts";
import { narInfoName } from "../binary-cache.ts";
import { createAtticCache } from "./attic-cache.ts";

interface RigOptions {
  readonly url: string;
  readonly cacheName: string;
  readonly token: string;
  readonly keptBytes: number | undefined;
  readonly close: () => Promise<void>;
}

function rigOf({ url, cacheName, token, keptBytes, close }: RigOptions): ConformanceRig {
  const cache = createAtticCache({
    name: "mine",
    server: "unused.example",
    host: url,
    cacheName,
    token: new Secret(token),
    keptBytes,
    env: {},
  });
  const readUrl = `${url}/${cacheName}`;
  return {
    cache,
    recompresses: true,
    isServed: async (hashPart: HashPart) => {
      const response = await fetch(`${readUrl}/${narInfoName(hashPart)}`);
      await response.arrayBuffer();
      return response.ok;
    },
    narInfo: async (path: StorePath) => {
      await using reader = openHttpReader(readUrl, { role: "cache", env: {} });
      return await reader.narInfo(path, new AbortController().signal);
    },
    async [Symbol.asyncDispose]() {
      await cache[Symbol.asyncDispose]();
      await close();
    },
  };
}

for (const [way, keptBytes] of [
  ["whole NARs", undefined],
  ["streams", 0],
] as const) {
  cacheConformance({
    name: `createAtticCache(), which sends ${way},`,
    async setup() {
      const fake = await startFakeAttic();
      const { url, cacheName } = fake;
      const close = async (): Promise<void> => {
        await fake[Symbol.asyncDispose]();
        assert.deepEqual(fake.service.violations, []);
      };
      return rigOf({ url, cacheName, token: "fake-token", keptBytes, close });
    },
  });

  const found = atticd();
  const skip = "skip" in found ? found.skip : undefined;
  describe(
    `createAtticCache(), which sends ${way}, and a real server`,
    { skip: skip ?? false },
    () => {
      let server: AtticServer;
      let caches = 0;
      before(async () => {
        if ("program" in found) server = await AtticServer.start(found.program);
      });
      after(() => server[Symbol.asyncDispose]());
      cacheConformance({
        name: "it",
        async setup() {
          const cacheName = `cache-${(caches += 1)}`;
          await server.createCache(cacheName);
          const token = server.token({ caches: cacheName, push: true });
          const close = async (): Promise<void> => undefined;
          return rigOf({ url: server.url, cacheName, token, keptBytes, close });
        },
      });
    },
  );
}
