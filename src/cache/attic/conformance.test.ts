import assert from "node:assert/strict";
import { after, before, describe } from "node:test";

import { atticd, AtticServer } from "../../../test/attic-server.ts";
import { cacheConformance } from "../../../test/cache-conformance.ts";
import type { ConformanceRig, SetupOptions } from "../../../test/conformance-rig.ts";
import { startFakeAttic } from "../../../test/fakes/attic.ts";
import type { HashPart, StorePath } from "../../nix/store-path.ts";
import { Secret } from "../../secret.ts";
import { openHttpReader } from "../http/http-reader.ts";
import { narInfoName } from "../binary-cache.ts";
import type { Cache } from "../contract.ts";
import { createAtticCache } from "./attic-cache.ts";

interface RigOptions extends SetupOptions {
  readonly url: string;
  readonly cacheName: string;
  readonly token: string;
  readonly keptBytes: number | undefined;
  readonly close: () => Promise<void>;
  /** Makes the token worthless, and returns another. */
  readonly renew?: () => string;
}

function rigOf({ url, cacheName, keptBytes, close, clock, ...more }: RigOptions): ConformanceRig {
  const open = (token: string): Cache =>
    createAtticCache({
      name: "mine",
      server: "unused.example",
      host: url,
      cacheName,
      token: new Secret(token),
      clock,
      keptBytes,
      env: {},
    });
  const cache = open(more.token);
  const { renew } = more;
  const readUrl = `${url}/${cacheName}`;
  return {
    cache,
    recompresses: true,
    checksNars: true,
    ...(renew === undefined ? {} : { revoke: async () => open(renew()) }),
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
    async setup({ clock } = {}) {
      const fake = await startFakeAttic();
      const { url, cacheName } = fake;
      const close = async (): Promise<void> => {
        await fake[Symbol.asyncDispose]();
        assert.deepEqual(fake.service.violations, []);
      };
      const renew = (): string => (fake.service.token = "new-token");
      return rigOf({ url, cacheName, token: "fake-token", keptBytes, close, clock, renew });
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
        disk: { isHeld: false },
        async setup({ clock, disk } = {}) {
          assert.ok("program" in found);
          const own = disk === undefined ? server : await AtticServer.start(found.program, disk);
          const cacheName = `cache-${(caches += 1)}`;
          await own.createCache(cacheName);
          const token = own.token({ caches: cacheName, push: true });
          const close = async (): Promise<void> => {
            if (own !== server) await own[Symbol.asyncDispose]();
          };
          return rigOf({ url: own.url, cacheName, token, keptBytes, close, clock });
        },
      });
    },
  );
}
