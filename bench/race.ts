/** One side of a comparison. */
export interface Contender {
  readonly name: string;
  /** Runs once; resolves with the time it took, in seconds. */
  run(): Promise<number>;
  /** For what takes very long. @default {Infinity} */
  readonly mostRuns?: number;
}

export interface RaceOptions {
  readonly rounds: number;
  /** No new round begins later than this, whatever `rounds` says. */
  readonly budgetSeconds: number;
  readonly onRun: (name: string, seconds: number) => void;
}

/**
 * Runs all contenders in turns, A B then B A, so that a machine that gets slower or faster meanwhile
 * does so for all of them.
 *
 * @returns The times of each contender by round, as many as it ran.
 */
export async function race(
  contenders: readonly Contender[],
  { rounds, budgetSeconds, onRun }: RaceOptions,
): Promise<number[][]> {
  const times = contenders.map((): number[] => []);
  const startMs = performance.now();
  for (let round = 0; round < rounds; round += 1) {
    const order = contenders.map((contender, at) => ({ contender, at }));
    if (round % 2 === 1) order.reverse();
    for (const { contender, at } of order) {
      if (round >= (contender.mostRuns ?? Infinity)) continue;
      const seconds = await contender.run();
      onRun(contender.name, seconds);
      times[at]?.push(seconds);
    }
    if (performance.now() - startMs > budgetSeconds * 1000) break;
  }
  return times;
}

/** Middle, least and most of some numbers. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly count: number;
}

export function spreadOf(numbers: readonly number[]): Spread {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    least: at(0),
    most: at(sorted.length - 1),
    count: sorted.length,
  };
}

/** What each round gives when the one is divided by the other. */
export function ratios(over: readonly number[], under: readonly number[]): Spread {
  const rounds = Math.min(over.length, under.length);
  return spreadOf(
    Array.from({ length: rounds }, (_, round) => (over[round] ?? 0) / (under[round] ?? 0)),
  );
}
