import type { Call, CachixApi } from "./cachix-api.ts";

/** Keeps a query near 1 MB; the service has answered larger ones with 502. */
export const MISSING_BATCH = 32_768;

/** Room for the whole of a batch, and some that we did not ask for. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/** The question which of at most {@link MISSING_BATCH} hash parts readers cannot get yet. */
export function missingCall({ label }: CachixApi, hashParts: readonly string[]): Call {
  return {
    action: `ask ${label} which paths it lacks`,
    method: "POST",
    path: ["narinfo"],
    body: hashParts,
    maxBytes: MAX_ANSWER_BYTES,
  };
}
