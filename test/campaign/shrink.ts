import type { Schedule } from "./schedule.ts";

/** Tells whether the failure is still there with these items only. */
export type StillFails<T> = (items: readonly T[]) => Promise<boolean>;

/**
 * Finds a smallest part of `items` with which something still fails (ddmin): no single item can be
 * left out of the result any more, unless `mayGoOn` ended the search before.
 *
 * @param items With them `stillFails` holds.
 */
export async function shrinkItems<T>(
  items: readonly T[],
  stillFails: StillFails<T>,
  mayGoOn: () => boolean = () => true,
): Promise<readonly T[]> {
  let kept = items;
  let pieces = Math.min(2, kept.length);
  while (pieces > 0 && mayGoOn()) {
    const size = Math.ceil(kept.length / pieces);
    let smaller: readonly T[] | undefined;
    for (let at = 0; at < kept.length && smaller === undefined && mayGoOn(); at += size) {
      const rest = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (await stillFails(rest)) smaller = rest;
    }
    if (smaller !== undefined) {
      kept = smaller;
      pieces = Math.min(Math.max(pieces - 1, 2), kept.length);
    } else if (pieces < kept.length) pieces = Math.min(pieces * 2, kept.length);
    else break;
  }
  return kept;
}

/** Finds a smallest schedule that still fails: first fewer runs, then fewer faults. */
export async function shrinkSchedule(
  schedule: Schedule,
  stillFails: (schedule: Schedule) => Promise<boolean>,
  mayGoOn?: () => boolean,
): Promise<Schedule> {
  const withRuns = (runs: Schedule["runs"]): Schedule => ({ ...schedule, runs });
  const runs = await shrinkItems(
    schedule.runs,
    async (some) => some.length > 0 && (await stillFails(withRuns(some))),
    mayGoOn,
  );
  const places = runs.flatMap((run, at) => run.faults.map((fault) => ({ at, fault })));
  const withFaults = (some: typeof places): Schedule =>
    withRuns(
      runs.map((run, at) => ({
        ...run,
        faults: some.filter((place) => place.at === at).map(({ fault }) => fault),
      })),
    );
  const faults = await shrinkItems(places, (some) => stillFails(withFaults([...some])), mayGoOn);
  return withFaults([...faults]);
}
