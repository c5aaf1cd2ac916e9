import type { Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { push } from "../handpick.ts";
import { boundLine, byteSize } from "../lines.ts";

const MOST_BYTES = 200e6;

/** Parts wait in memory for an answer, so that all that parts may take is taken. */
const DELAY_MS = 100;

/** Row 7: the memory of one very large path. */
export const memoryRow: Row = {
  name: "memory",
  about: "peak memory of pushing one path of 4 GB",
  async measure(bench) {
    const { path, sizeBytes } = bench.corpus.huge;
    const what = `peak memory, one path of ${byteSize(sizeBytes)}, ${DELAY_MS} ms a request`;
    const peaks: number[] = [];
    await compare(bench, what, {
      rounds: 2,
      ours: async () => {
        const finished = await push(bench, path, { mode: { delayMs: DELAY_MS }, paths: 1 });
        peaks.push(finished.peakBytes);
        return finished.seconds;
      },
      theirs: [],
    });
    return [boundLine({ what, reach: MOST_BYTES }, peaks, byteSize)];
  },
};
