import { PAGE_HINT } from "../http/status-error.ts";
import { HandpickError, isOutage, isRefusal } from "../error.ts";
import { lacksToken, type OpenedCache, tokenHint } from "./open-caches.ts";

/**
 * Runs `ask`, the first question to a cache. One that does not answer and that we have no token for
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
    if (!(error instanceof HandpickError) || !lacksToken(config, credentials)) throw error;
    const isRefused = isRefusal(error.code) && error.hint !== PAGE_HINT;
    if (!isRefused && !isOutage(error.code)) throw error;
    const lack = isRefused ? "no token was sent" : "there is no token for it either";
    const why = [lack, ...credentials.warnings].join("; ");
    const first = error.code === "CACHE_REFUSED" ? "" : (error.hint ?? "");
    const hint = `${first} ${tokenHint(config)}`.trim();
    throw new HandpickError(error.code, `${error.message}; ${why}`, { cause: error, hint });
  }
}
