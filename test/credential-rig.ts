import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { type CacheConfig, parseConfig } from "../src/config/config.ts";
import { type Credentials, readCredentials } from "../src/config/credentials.ts";
import { tempDir, type TempDir } from "./temp.ts";

/** A folder for files with credentials, which is the user's `XDG_CONFIG_HOME` as well. */
export interface CredentialRig extends TempDir {
  /** Writes a file below the folder and returns its full name. */
  put(name: string, text: string, mode?: number): Promise<string>;
  /** Reads the credentials of cache `mine`, which is `cachix://tools` with these settings. */
  read(cache: Partial<CacheConfig>, env?: NodeJS.ProcessEnv): Promise<Credentials>;
}

export async function credentialRig(): Promise<CredentialRig> {
  const folder = await tempDir("handpick-credentials-");
  const { dir } = folder;
  const { caches } = parseConfig(
    '[caches.mine]\nurl = "cachix://tools"',
    join(dir, "config.toml"),
    {},
  );
  const [mine] = caches as [CacheConfig];
  return {
    dir,
    put: async (name, text, mode = 0o600) => {
      const path = join(dir, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
      await chmod(path, mode);
      return path;
    },
    read: (cache, env = {}) =>
      readCredentials(
        { ...mine, ...cache },
        {
          env: { XDG_CONFIG_HOME: dir, ...env },
          uid: cache.foundFile === undefined ? 1000 : process.getuid?.(),
        },
      ),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
