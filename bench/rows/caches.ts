import type { Bench, Row } from "../bench.ts";
import { compare } from "../compare.ts";
import type { CorpusPath } from "../corpus.ts";
import { push } from "../handpick.ts";
import { byteSize, durationLine, type Line } from "../lines.ts";

/** How long several caches may take at once, in terms of one. */
const CASES = [
  { caches: 2, reach: 1.15 },
  { caches: 3, reach: 1.25 },
] as const;

/** Row 4: several caches at once. */
export const cachesRow: Row = {
  name: "caches",
  about: "push to two and to three sinks at once, against one",
  async measure(bench) {
    const { large, small } = bench.corpus;
    return [
      ...(await pushTo(bench, "a few large files", large)),
      ...(await pushTo(bench, "many small files", small)),
    ];
  },
};

async function pushTo(bench: Bench, name: string, path: CorpusPath): Promise<Line[]> {
  await bench.store.warm(path.path, bench.signal);
  const run = async (caches: number): Promise<number> =>
    (await push(bench, path.path, { paths: 1, caches })).seconds;
  const what = `push ${name}, ${byteSize(path.sizeBytes)}`;
  const { ours: one, theirs } = await compare(bench, what, {
    budgetSeconds: 120,
    ours: () => run(1),
    theirs: CASES.map(({ caches }) => ({
      name: `handpick to ${caches} caches`,
      run: () => run(caches),
    })),
  });
  return theirs.map(({ times }, at) => {
    const { caches, reach } = CASES[at] ?? { caches: 0, reach: 0 };
    const goal = { what: `${what}, to ${caches} caches at once`, against: "one cache", reach };
    return durationLine(goal, times, one);
  });
}
