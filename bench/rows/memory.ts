import type { Row } from "../bench.ts";
import { push } from "../handpick.ts";
import { boundLine, byteSize, seconds } from "../lines.ts";

const MOST_BYTES = 200e6;

/** Row 6: what one very large path takes. */
export const memoryRow: Row = {
  name: "memory",
  about: "peak memory of pushing one path of 4 GB",
  async measure(bench) {
    const { path, sizeBytes } = bench.corpus.huge;
    const what = `peak memory, one path of ${byteSize(sizeBytes)}`;
    const finished = await push(bench, path, { paths: 1 });
    bench.say(`${what}: ${byteSize(finished.peakBytes)} in ${seconds(finished.seconds)}`);
    return [boundLine({ what, reach: MOST_BYTES }, [finished.peakBytes], byteSize)];
  },
};
