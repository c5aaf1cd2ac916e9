import { onAbort } from "./on-abort.ts";

/**
 * Waits for `promise` and, as opposed to what it stands for, no longer than until `signal` is aborted.
 *
 * @throws The reason `signal` was aborted with, or that of `promise`.
 */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  using _listening = onAbort(signal, () => reject(signal.reason));
  // Also where it is over already: a rejection of `promise` that nobody hears would end the process.
  return await Promise.race([aborted, promise]);
}
