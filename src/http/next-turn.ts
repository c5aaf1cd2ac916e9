let next: Promise<void> | undefined;

/** Settles, for all that wait in this turn of the event loop, once everything that has arrived was read. */
export function nextTurn(): Promise<void> {
  next ??= new Promise((resolve) => {
    setImmediate(() => {
      next = undefined;
      resolve();
    });
  });
  return next;
}
