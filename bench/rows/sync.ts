import type { Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { PROGRAM, runNode, writeConfig } from "../handpick.ts";
import { boundLine, seconds } from "../lines.ts";
import { wantMany } from "../selection.ts";

const MOST_SECONDS = 0.15;

/** A sync of a selection that is where it should be: what the timer of a service starts all day. */
export const syncRow: Row = {
  name: "sync",
  about: "a sync that has nothing to do",
  async measure(bench) {
    const { sizes, sink } = bench;
    const what = `sync with nothing to do, selection of ${sizes.manyPaths} paths`;
    const env = { BENCH_TOKEN: "token", ...(await wantMany(bench)) };
    const sync = [PROGRAM, "sync", "-q", "-c", await writeConfig(bench)];
    sink.reset({ hasAll: true });
    await runNode(bench, sync, env);
    const requests: number[] = [];
    const { ours } = await compare(bench, what, {
      rounds: 15,
      ours: async () => {
        sink.reset({ hasAll: true });
        const finished = await runNode(bench, sync, env);
        requests.push(sink.counts().requests);
        return finished.seconds;
      },
      theirs: [],
    });
    return [
      boundLine({ what, reach: MOST_SECONDS }, ours, seconds),
      boundLine({ what: `requests: ${what}`, reach: 0 }, requests, String),
    ];
  },
};
