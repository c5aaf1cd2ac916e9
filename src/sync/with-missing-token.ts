import { PAGE_HINT } from "../cache/status-error.ts";
import { type ErrorCode, HandpickError } from "../error.ts";
import { isOutage } from "../push/push-paths.ts";
import { type OpenedCache, tokenHint } from "./open-caches.ts";

/** A cache that has to see a token answers a request without one so; a private one says that it is not there. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(["CACHE_NOT_FOUND", "CACHE_REFUSED"]);

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
    if (!(error instanceof HandpickError) || credentials.token !== undefined) throw error;
    const isRefusal = REFUSALS.has(error.code) && error.hint !== PAGE_HINT;
    if (!isRefusal && !isOutage(error.code)) throw error;
    const lack = isRefusal ? "no token was sent" : "there is no token for it either";
    const why = [lack, ...credentials.warnings].join("; ");
    const first = error.code === "CACHE_REFUSED" ? "" : (error.hint ?? "");
    const hint = `${first} ${tokenHint(config)}`.trim();
    throw new HandpickError(error.code, `${error.message}; ${why}`, { cause: error, hint });
  }
}
