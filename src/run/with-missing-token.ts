import { PAGE_HINT } from "../http/status-error.ts";
import { HandpickError, isOutage, isRefusal } from "../error.ts";
import { isAnonymous, lacksToken, type OpenedCache, tokenHint } from "./open-caches.ts";

/**
 * Runs `ask`, which may be the first to be refused. A cache that does not answer and that we have no token for
 * would refuse us later: both are told at once, so that neither is found out only after the other. So is why
 * no token went to one that refuses us: it may have been kept from a host that a found file names.
 *
 * @throws What `ask` throws, with the missing token where that is the next thing to go wrong.
 */
export async function withMissingToken<T>(
  { config, credentials }: Pick<OpenedCache, "config" | "credentials">,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof HandpickError) || !isAnonymous(config, credentials)) throw error;
    const isLacking = lacksToken(config, credentials);
    const isOfToken = isLacking ? isRefusal(error.code) : error.code === "CACHE_REFUSED";
    const isRefused = isOfToken && error.hint !== PAGE_HINT;
    if (!isRefused && !(isLacking && isOutage(error.code))) throw error;
    const lack = isRefused ? "no token was sent" : "there is no token for it either";
    const why = [lack, ...credentials.warnings, ...credentials.doubts].join("; ");
    const first = error.code === "CACHE_REFUSED" ? "" : (error.hint ?? "");
    const hint = `${first} ${tokenHint(config)}`.trim();
    throw new HandpickError(error.code, `${error.message}; ${why}`, { cause: error, hint });
  }
}
