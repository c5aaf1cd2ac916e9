import type { CacheDiagnosis } from "../cache/contract.ts";
import { HandpickError } from "../error.ts";
import { type Outcome, ok, warning } from "./check.ts";

/**
 * Tells whose credentials a cache is used with, where its kind finds them by itself, and whether they may write.
 *
 * @throws {HandpickError} `CACHE_REFUSED` if they may not.
 */
export function accessOutcome({ credentials, refusal, advice }: CacheDiagnosis): Outcome {
  if (refusal !== undefined) {
    const { code, message, hint } = refusal;
    throw new HandpickError(code, `${message}; signed with ${credentials}`, {
      cause: refusal,
      hint,
    });
  }
  const text = `signed with ${credentials}, may write`;
  return advice === undefined ? ok(text) : warning(text, advice);
}
