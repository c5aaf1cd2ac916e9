import { HandpickError } from "../error.ts";
import { isOutage } from "../push/push-paths.ts";
import type { OpenedCache } from "./open-caches.ts";

/**
 * Runs `ask`, the first question to a cache. One that does not answer and that we have no token for
 * would refuse us later: both are told at once, so that neither is found out only after the other.
 *
 * @throws What `ask` throws, with the missing token where that is the next thing to go wrong.
 */
export async function withMissingToken<T>(
  { credentials }: Pick<OpenedCache, "credentials">,
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const isUnanswered = error instanceof HandpickError && isOutage(error.code);
    if (!isUnanswered || credentials.token !== undefined) throw error;
    const why = ["there is no token for it either", ...credentials.warnings].join("; ");
    throw new HandpickError(error.code, `${error.message}; ${why}`, {
      cause: error,
      hint: `${error.hint ?? ""} Set token-file in the configuration, or CACHIX_AUTH_TOKEN.`.trim(),
    });
  }
}
