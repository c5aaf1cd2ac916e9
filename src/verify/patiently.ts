import { HandpickError, isOutage } from "../error.ts";

const TRIES = 3;

/**
 * Reads a NAR, and reads it again after a failure of the network: a connection that is cut says nothing of a NAR.
 *
 * @throws The error of the last try, or the reason that `signal` was aborted with.
 */
export async function patiently<T>(signal: AbortSignal, read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      signal.throwIfAborted();
      const mayPass = error instanceof HandpickError && isOutage(error.code);
      if (tries === TRIES || !mayPass) throw error;
    }
  }
}
