import { HandpickError } from "../error.ts";
import type { Cache } from "./contract.ts";
import type { OpenCacheOptions } from "./kind.ts";
import { kindOf, urlForms } from "./kinds.ts";

/**
 * Opens the cache behind a URL. Nothing is sent yet.
 *
 * @throws {HandpickError} `CACHE_URL_UNSUPPORTED` if there is no kind for the URL, or it is none.
 */
export async function openCache(options: OpenCacheOptions): Promise<Cache> {
  const { name, url } = options;
  const kind = kindOf(url);
  if (kind !== undefined) return await kind.open(options);
  const scheme = /^[a-z][a-z0-9+.-]{0,15}:/i.exec(url)?.[0] ?? "no scheme";
  throw new HandpickError(
    "CACHE_URL_UNSUPPORTED",
    `Cannot open cache ${JSON.stringify(name)}: expected a URL of ${urlForms()}, received ${scheme}`,
    { hint: `This version pushes to ${urlForms()} only.` },
  );
}
