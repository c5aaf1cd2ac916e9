import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { cacheConformance } from "../../../test/cache-conformance.ts";
import { DAV, nginxSkip, startNginx } from "../../../test/nginx.ts";
import { narInfoName } from "../binary-cache.ts";
import type { Cache } from "../contract.ts";
import { openCache } from "../open-cache.ts";
import { Secret } from "../../secret.ts";
import { openHttpReader } from "./http-reader.ts";

/** Everybody may read, and few write. */
const LOCATION = [...DAV, "limit_except GET { auth_basic cache; auth_basic_user_file users; }"];

cacheConformance({
  name: "http:// on nginx with WebDAV",
  skip: nginxSkip(),
  disk: { isHeld: false },
  async setup({ clock, disk } = {}) {
    const nginx = await startNginx({ location: LOCATION, users: ["me:first"], disk });
    const open = (password: string): Cache | Promise<Cache> => {
      const login = { user: "me", password: new Secret(password) };
      return openCache({ name: "mine", url: nginx.url, login, clock, env: {} });
    };
    const cache = await open("first");
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
      async revoke() {
        await nginx.setUsers(["me:second"]);
        return await open("second");
      },
      async [Symbol.asyncDispose]() {
        await cache[Symbol.asyncDispose]();
        await reader[Symbol.asyncDispose]();
        await nginx[Symbol.asyncDispose]();
      },
    };
  },
});
