/** No handpick is older, so an earlier time is that of a clock that was wrong. */
export const EARLIEST_MS: number = Date.UTC(2025, 0, 1);

/**
 * Since when something is known, where the clock may have been set meanwhile: a time in the future, or
 * before there was a handpick, says nothing, so that it is known as of now.
 */
export function plausibleSince(since: number, now: number): number {
  return since >= EARLIEST_MS && since <= now ? since : now;
}
