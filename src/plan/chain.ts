/** The item by which each was reached first; undefined for one where the search began. */
export type Reached<T> = ReadonlyMap<T, T | undefined>;

/** Goes from some items, such as paths, on to all that these lead to, such as references, nearest first. */
export function reach<T>(from: Iterable<T>, next: (item: T) => Iterable<T>): Reached<T> {
  const reached = new Map<T, T | undefined>();
  for (const item of from) reached.set(item, undefined);
  // A map yields what is added while it is read.
  for (const item of reached.keys()) {
    for (const other of next(item)) if (!reached.has(other)) reached.set(other, item);
  }
  return reached;
}

/** The shortest way to an item that was reached, both ends included. */
export function chainTo<T>(item: T, reached: Reached<T>): readonly T[] {
  const chain = [item];
  for (let last = reached.get(item); last !== undefined; last = reached.get(last)) chain.push(last);
  return chain.toReversed();
}
