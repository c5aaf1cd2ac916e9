import type { CacheConfig } from "../config/config.ts";
import { readCredentials } from "../config/credentials.ts";
import { HandpickError } from "../error.ts";
import type { OpenOptions } from "./open-caches.ts";

/**
 * Finds the optional caches that this machine has no credential for: they are asked nothing, and only
 * `status` tells of them. One whose credential cannot be read is not among them; opening it says why.
 */
export async function idleCaches(
  caches: Iterable<CacheConfig>,
  { env, uid }: Pick<OpenOptions, "env" | "uid">,
): Promise<ReadonlySet<string>> {
  const idle = new Set<string>();
  for (const cache of caches) {
    if (!cache.optional) continue;
    try {
      const { token } = await readCredentials(cache, { env, uid });
      if (token === undefined) idle.add(cache.name);
    } catch (error) {
      if (!(error instanceof HandpickError)) throw error;
    }
  }
  return idle;
}
