/**
 * Runs `task` over `items`, at most `limit` at once. The first failure aborts the signal that the
 * others got; settles when all that were started have.
 *
 * @throws The first failure, or the reason `signal` was aborted with.
 */
export async function forEachConcurrent<T>(
  items: Iterable<T>,
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const failed = new AbortController();
  const stop = AbortSignal.any([failed.signal, signal]);
  const queue = Iterator.from(items);
  const work = async (): Promise<void> => {
    for (let next = queue.next(); !next.done && !stop.aborted; next = queue.next()) {
      await task(next.value, stop).catch((error: unknown) => failed.abort(error));
    }
  };
  await Promise.all(Array.from({ length: limit }, work));
  stop.throwIfAborted();
}
