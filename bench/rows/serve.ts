import type { Bench, Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { push } from "../handpick.ts";
import { byteSize, durationLine, type Line } from "../lines.ts";
import { pushToServe } from "../serve.ts";

/** What the embedded cache adds to a push, by proving and syncing what it takes. */
export const serveRow: Row = {
  name: "serve",
  about: "push to handpick serve, against a sink that proves nothing",
  async measure(bench) {
    const { tiny, large } = bench.corpus;
    const { tinyPaths } = bench.sizes;
    return [
      ...(await measureOne(bench, {
        what: `push ${tinyPaths} tiny paths to handpick serve`,
        path: tiny.path,
        paths: tinyPaths,
        reach: 1.8,
        rounds: 9,
      })),
      ...(await measureOne(bench, {
        what: `push a few large files to handpick serve, ${byteSize(large.sizeBytes)}`,
        path: large.path,
        paths: 1,
        reach: 1.3,
        rounds: 5,
      })),
    ];
  },
};

interface ServeCase {
  readonly what: string;
  readonly path: string;
  readonly paths: number;
  readonly reach: number;
  readonly rounds: number;
}

async function measureOne(bench: Bench, one: ServeCase): Promise<Line[]> {
  const { what, path, paths, reach, rounds } = one;
  await bench.store.warm(path, bench.signal);
  const { ours, theirs } = await compare(bench, what, {
    rounds,
    budgetSeconds: 120,
    ours: async () => (await pushToServe(bench, path, paths)).seconds,
    theirs: [{ name: "the sink", run: async () => (await push(bench, path, { paths })).seconds }],
  });
  return theirs.map(({ name, times }) => durationLine({ what, against: name, reach }, ours, times));
}
