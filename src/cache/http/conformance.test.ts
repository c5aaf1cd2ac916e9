import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { cacheConformance } from "../../../test/cache-conformance.ts";
import { nginxSkip, startNginx } from "../../../test/nginx.ts";
import { narInfoName } from "../binary-cache.ts";
import { openCache } from "../open-cache.ts";
import { openHttpReader } from "./http-reader.ts";

cacheConformance({
  name: "http:// on nginx with WebDAV",
  skip: nginxSkip(),
  async setup() {
    const nginx = await startNginx();
    const cache = await openCache({ name: "mine", url: nginx.url, env: {} });
    const reader = openHttpReader(nginx.url, { role: "cache", env: {} });
    return {
      cache,
      isServed: (hashPart) =>
        stat(join(nginx.dir, narInfoName(hashPart))).then(
          () => true,
          () => false,
        ),
      narInfo: (path) => reader.narInfo(path, new AbortController().signal),
      companion: (name) => readFile(join(nginx.dir, name)).catch(() => undefined),
      dir: nginx.dir,
      async [Symbol.asyncDispose]() {
        await cache[Symbol.asyncDispose]();
        await reader[Symbol.asyncDispose]();
        await nginx[Symbol.asyncDispose]();
      },
    };
  },
});
