import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { cacheConformance } from "../../../test/cache-conformance.ts";
import { tempDir } from "../../../test/temp.ts";
import { narInfoName } from "../binary-cache.ts";
import { createFileCache } from "./file-cache.ts";
import { createFileReader } from "./file-reader.ts";

cacheConformance({
  name: "createFileCache()",
  disk: { isHeld: false },
  async setup({ clock, disk } = {}) {
    const temp = await tempDir();
    const dir = join(disk ?? temp.dir, "cache");
    const cache = createFileCache({ name: "mine", dir, clock });
    return {
      cache,
      isServed: (hashPart) =>
        stat(join(dir, narInfoName(hashPart))).then(
          () => true,
          () => false,
        ),
      narInfo: (path) => createFileReader({ dir }).narInfo(path, new AbortController().signal),
      companion: async (name) => new Uint8Array(await readFile(join(dir, name))),
      dir,
      async [Symbol.asyncDispose]() {
        await cache[Symbol.asyncDispose]();
        await temp[Symbol.asyncDispose]();
      },
    };
  },
});
