import type { Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { PROGRAM, runNode } from "../handpick.ts";
import { durationLine } from "../lines.ts";
import { run } from "../process.ts";

/** Row 9: the start of the program. */
export const startRow: Row = {
  name: "start",
  about: "handpick --version, against node -e 0",
  async measure(bench) {
    const { store, workDir: cwd, signal } = bench;
    const what = "handpick --version";
    const { ours, theirs } = await compare(bench, what, {
      rounds: 25,
      ours: async () => (await runNode(bench, [PROGRAM, "--version"])).seconds,
      theirs: [
        {
          name: "node -e 0",
          run: async () => {
            const options = { env: store.env, cwd, signal };
            return (await run(process.execPath, ["-e", "0"], options)).seconds;
          },
        },
      ],
    });
    return theirs.map(({ name, times }) =>
      durationLine({ what, against: name, reach: 1.5 }, ours, times),
    );
  },
};
