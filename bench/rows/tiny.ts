import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import type { Compared } from "../compare.ts";
import { push } from "../handpick.ts";
import { boundLine, missingLines, seconds, speedLine } from "../lines.ts";
import { copyToSink } from "../nix-copy.ts";

const PARAMETERS = "?compression=zstd&compression-level=3";
const DELAY_MS = 50;
const MOST_SECONDS = 3;

/** Row 5: many round trips. */
export const tinyDelayedRow: Row = {
  name: "tiny-delayed",
  about: "many tiny paths, 50 ms added to every request, against nix copy",
  async measure(bench) {
    const what = `push ${bench.sizes.tinyPaths} tiny paths, ${DELAY_MS} ms added to every request`;
    // The others take a minute or so.
    const { ours, theirs, missing } = await compareTiny(bench, {
      what,
      delayMs: DELAY_MS,
      rounds: 5,
      mostRuns: 1,
    });
    return [
      boundLine({ what, reach: MOST_SECONDS }, ours, seconds),
      ...theirs.map(({ name, times }) => speedLine({ what, against: name }, ours, times)),
      ...missingLines(what, missing),
    ];
  },
};

/** Row 6: the cost of many paths by themselves. */
export const tinyRow: Row = {
  name: "tiny",
  about: "the same without a delay",
  async measure(bench) {
    const what = `push ${bench.sizes.tinyPaths} tiny paths`;
    const { ours, theirs, missing } = await compareTiny(bench, { what, delayMs: 0, rounds: 9 });
    return [
      ...theirs.map(({ name, times }) => speedLine({ what, against: name, reach: 1 }, ours, times)),
      ...missingLines(what, missing),
    ];
  },
};

interface TinyCase {
  readonly what: string;
  readonly delayMs: number;
  readonly rounds: number;
  /** Of each of the others. */
  readonly mostRuns?: number;
}

async function compareTiny(bench: Bench, one: TinyCase): Promise<Compared> {
  const { what, delayMs, rounds, ...rest } = one;
  const { path } = bench.corpus.tiny;
  const paths = bench.sizes.tinyPaths;
  return await compare(bench, what, {
    rounds,
    budgetSeconds: 240,
    ours: async () => (await push(bench, path, { mode: { delayMs }, paths })).seconds,
    ...otherNixes(bench.nixes, {
      ...rest,
      name: (version) => `nix copy ${version} to http:// (zstd 3)`,
      run: async (nix) => {
        const request = { nix, path, parameters: PARAMETERS, paths };
        return (await copyToSink(bench, request, { delayMs })).seconds;
      },
    }),
  });
}
