/** No handpick is older, so an earlier time is that of a clock that was wrong. */
export const EARLIEST_MS: number = Date.UTC(2025, 0, 1);

/** Returns true unless the clock was wrong, then or now. */
export function isPlausible(time: number, now: number): boolean {
  return time >= EARLIEST_MS && time <= now;
}

/**
 * Since when something is known, where the clock may have been set meanwhile: a time in the future, or
 * before there was a handpick, says nothing, so that it is known as of now.
 */
export function plausibleSince(since: number, now: number): number {
  return isPlausible(since, now) ? since : now;
}
