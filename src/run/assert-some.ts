import { HandpickError } from "../error.ts";

/**
 * Ends a run after some of its caches failed, if there is nothing to go on with.
 *
 * @param all How many caches there are.
 * @throws The reason `signal` was aborted with; a failure that is none of a cache; all of them, where each cache
 *   failed.
 */
export function assertSome(
  failures: readonly unknown[],
  { all, signal }: { readonly all: number; readonly signal: AbortSignal },
): void {
  signal.throwIfAborted();
  const foreign = failures.find((failure) => !(failure instanceof HandpickError));
  if (foreign !== undefined) throw foreign;
  if (all > 0 && failures.length === all) {
    throw new AggregateError(failures, "Cannot go on: every cache failed");
  }
}
