import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import { push } from "../handpick.ts";
import { boundLine, missingLines, speedLine } from "../lines.ts";
import type { Nix } from "../nix-versions.ts";
import { run } from "../process.ts";

/** Row 7: a push that finds everything there. */
export const nothingRow: Row = {
  name: "nothing",
  about: "nothing to do for a large closure, against nix path-info -r",
  async measure(bench) {
    const { path } = bench.corpus.many;
    const what = `nothing to do, closure of ${bench.sizes.manyPaths} paths`;
    const requests: number[] = [];
    const { ours, theirs, missing } = await compare(bench, what, {
      rounds: 15,
      ours: async () => {
        const finished = await push(bench, path, { mode: { hasAll: true }, paths: 0 });
        requests.push(bench.sink.counts().requests);
        return finished.seconds;
      },
      ...otherNixes(bench.nixes, {
        name: (version) => `nix path-info ${version} -r`,
        run: async (nix) => await pathInfo(bench, nix, path),
      }),
    });
    return [
      ...theirs.map(({ name, times }) => speedLine({ what, against: name, reach: 1 }, ours, times)),
      ...missingLines(what, missing),
      boundLine({ what: `requests: ${what}`, reach: 1 }, requests, String),
    ];
  },
};

async function pathInfo(bench: Bench, { env }: Nix, path: string): Promise<number> {
  const { workDir: cwd, signal, sizes } = bench;
  const { seconds, stdout } = await run("nix", ["path-info", "-r", path], { env, cwd, signal });
  const found = stdout.trim().split("\n").length;
  if (found !== sizes.manyPaths) throw new Error(`Expected ${sizes.manyPaths}, got ${found} paths`);
  return seconds;
}
