import type { Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { push } from "../handpick.ts";
import { boundLine, byteSize, type Line } from "../lines.ts";

const CASES = [
  { caches: 1, reach: 200e6 },
  { caches: 3, reach: 220e6 },
] as const;

/** Parts wait in memory for an answer, so that all that parts may take is taken. */
const DELAY_MS = 100;

/** Row 8: the memory of one very large path. */
export const memoryRow: Row = {
  name: "memory",
  about: "peak memory of pushing one path of 4 GB, to one cache and to three",
  async measure(bench) {
    const { path, sizeBytes } = bench.corpus.huge;
    const lines: Line[] = [];
    for (const { caches, reach } of CASES) {
      const to = caches === 1 ? "" : ` to ${caches} caches`;
      const what = `peak memory, one path of ${byteSize(sizeBytes)}${to}, ${DELAY_MS} ms a request`;
      const peaks: number[] = [];
      await compare(bench, what, {
        rounds: 2,
        ours: async () => {
          const mode = { delayMs: DELAY_MS };
          const finished = await push(bench, path, { mode, paths: 1, caches });
          peaks.push(finished.peakBytes);
          return finished.seconds;
        },
        theirs: [],
      });
      lines.push(boundLine({ what, reach }, peaks, byteSize));
    }
    return lines;
  },
};
