import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterEach, beforeEach } from "node:test";

import { type CacheConfig, parseConfig } from "../src/config/config.ts";
import { type Credentials, readCredentials } from "../src/config/credentials.ts";
import { generateSecretKey, printSecretKey, type SecretKey } from "../src/nix/key.ts";
import { tempDir, type TempDir } from "./temp.ts";

/** A signing key, and its spelling by Nix and by Cachix. */
export const KEY: SecretKey = generateSecretKey("tools-1");
export const NIX_KEY: string = printSecretKey(KEY, "nix");
export const CACHIX_KEY: string = printSecretKey(KEY, "cachix");

/** A folder for files with credentials, which is the user's `XDG_CONFIG_HOME` as well. */
export interface CredentialRig {
  readonly dir: string;
  /** Writes a file below the folder and returns its full name. */
  readonly put: (name: string, text: string, mode?: number) => Promise<string>;
  /** Reads the credentials of cache `mine`, which is `cachix://tools` with these settings. */
  readonly read: (cache: Partial<CacheConfig>, env?: NodeJS.ProcessEnv) => Promise<Credentials>;
}

/** Gives each test of a suite a folder of its own. */
export function useCredentialRig(): CredentialRig {
  const config = parseConfig('[caches.mine]\nurl = "cachix://tools"', "/handpick.toml", {});
  const [mine] = config.caches as [CacheConfig];
  let temp: TempDir;
  beforeEach(async () => {
    temp = await tempDir();
  });
  afterEach(() => temp[Symbol.asyncDispose]());
  return {
    get dir() {
      return temp.dir;
    },
    put: async (name, text, mode = 0o600) => {
      const path = join(temp.dir, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
      await chmod(path, mode);
      return path;
    },
    read: (cache, env = {}) =>
      readCredentials(
        { ...mine, ...cache },
        {
          env: { XDG_CONFIG_HOME: temp.dir, ...env },
          uid: cache.foundFile === undefined ? 1000 : process.getuid?.(),
        },
      ),
  };
}
