import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import type { CorpusPath } from "../corpus.ts";
import { startDelayProxy } from "../delay-proxy.ts";
import { pushTo } from "../handpick.ts";
import { type Line, missingLines, speedLine } from "../lines.ts";
import { copyTo, nixesFor } from "../nix-copy.ts";
import { openPlace, PLACE_NAMES, type Scheme, whyNoPlace } from "../places.ts";

const PARAMETERS = "?compression=zstd&compression-level=3";
const DELAY_MS = 50;

/** The requests themselves, in Nix's own layout: both sides send a NAR and a narinfo for each path. */
export const tinyServersRow: Row = {
  name: "tiny-servers",
  about: "many tiny paths to nginx and S3, against nix copy",
  async measure(bench) {
    const { tiny: closure } = bench.corpus;
    const what = `push ${bench.sizes.tinyPaths} tiny paths`;
    const shared = { what, closure, delayMs: 0, rounds: 9, mostRuns: Infinity, reach: 1 };
    return [
      ...(await measureIn(bench, { ...shared, scheme: "http" })),
      ...(await measureIn(bench, { ...shared, scheme: "s3" })),
    ];
  },
};

/** Round trips; nothing is published before its references, so the closure is shallow. */
export const delayedServersRow: Row = {
  name: "delayed-servers",
  about: "the same, 50 ms added to every request",
  async measure(bench) {
    const { shallow: closure } = bench.corpus;
    const what = `push ${bench.sizes.tinyPaths} tiny paths, ${DELAY_MS} ms added to every request,`;
    // The others take a minute or so.
    const shared = { what, closure, delayMs: DELAY_MS, rounds: 5, mostRuns: 1 };
    return [
      ...(await measureIn(bench, { ...shared, scheme: "http", reach: 20 })),
      ...(await measureIn(bench, { ...shared, scheme: "s3", reach: 10 })),
    ];
  },
};

interface TinyCase {
  readonly what: string;
  readonly closure: CorpusPath;
  readonly scheme: Scheme;
  readonly delayMs: number;
  readonly rounds: number;
  /** Of each of the others. */
  readonly mostRuns: number;
  readonly reach: number;
}

async function measureIn(bench: Bench, one: TinyCase): Promise<Line[]> {
  const { scheme, rounds, mostRuns, reach, delayMs } = one;
  const { path } = one.closure;
  const paths = bench.sizes.tinyPaths;
  const what = `${one.what} to ${PLACE_NAMES[scheme]}`;
  const lack = await whyNoPlace(scheme);
  if (lack !== false) return missingLines(what, [{ against: "nix copy", reason: lack }]);
  await using proxy = delayMs === 0 ? undefined : await startDelayProxy();
  await using place = await openPlace(bench, scheme, proxy);
  proxy?.reset(delayMs);
  const { ours, theirs, missing } = await compare(bench, what, {
    rounds,
    budgetSeconds: 120,
    ours: async () => {
      await using cache = await place.newCache();
      return (await pushTo(bench, path, { caches: [cache], paths })).seconds;
    },
    ...otherNixes(await nixesFor(bench, scheme), {
      mostRuns,
      name: (version) => `nix copy ${version} (zstd 3)`,
      run: async (nix) => {
        await using cache = await place.newCache();
        return (await copyTo(bench, { nix, path, parameters: PARAMETERS, paths }, cache)).seconds;
      },
    }),
  });
  return [
    ...theirs.map(({ name, times }) => speedLine({ what, against: name, reach }, ours, times)),
    ...missingLines(what, missing),
  ];
}
