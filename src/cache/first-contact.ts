import { HandpickError } from "../error.ts";

/** A wrong host or a machine without network shows soon; nothing is lost by saying so. */
export const FIRST_PATIENCE: { readonly offlineMs: number } = { offlineMs: 4_000 };

export const FIRST_CONTACT_MS = 30_000;

export interface FirstContactOptions {
  /** As it follows "Cannot" in a message. */
  readonly action: string;
  /** How long the first answer may take altogether. */
  readonly limitMs: number;
  /** Says what to check. */
  readonly hint: string;
  readonly signal: AbortSignal;
}

/**
 * Asks a server for the first time: one that accepts and stays silent, or trickles, shows soon.
 *
 * @throws {HandpickError} `NETWORK` if the answer is not complete in time.
 * @throws What `ask` throws.
 */
export async function firstContact<T>(
  { action, limitMs, hint, signal }: FirstContactOptions,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(limitMs);
  try {
    return await ask(AbortSignal.any([signal, deadline]));
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new HandpickError(
      "NETWORK",
      `Cannot ${action}: no complete answer within ${limitMs / 1000} s`,
      { cause: error, hint },
    );
  }
}
