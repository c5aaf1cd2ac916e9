import type { Bench, Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { type DelayProxy, startDelayProxy } from "../delay-proxy.ts";
import { PROGRAM, pushTo, runNode, writeConfigOf } from "../handpick.ts";
import { boundLine, type Line, missingLines, seconds } from "../lines.ts";
import { openPlace, PLACE_NAMES, type Scheme, whyNoPlace } from "../places.ts";
import type { Finished } from "../process.ts";
import { wantMany } from "../selection.ts";

const DELAY_MS = 50;
const MOST_SECONDS = 1.5;

/** Nothing to do where the server is far away: by a push, by the first sync, and by those after it. */
export const presentRow: Row = {
  name: "present",
  about: "nothing to do on nginx and S3, 50 ms added to every request",
  async measure(bench) {
    return [...(await measureIn(bench, "http")), ...(await measureIn(bench, "s3"))];
  },
};

async function measureIn(bench: Bench, scheme: Scheme): Promise<Line[]> {
  const { manyPaths: paths } = bench.sizes;
  const where = `${paths} paths present on ${PLACE_NAMES[scheme]}, ${DELAY_MS} ms a request`;
  const reason = await whyNoPlace(scheme);
  if (reason !== false) return missingLines(`push, ${where}`, [{ against: "–", reason }]);
  await using proxy = await startDelayProxy();
  await using place = await openPlace(bench, scheme, proxy);
  await using cache = await place.newCache();
  const push = (): Promise<Finished> =>
    pushTo(bench, bench.corpus.many.path, { caches: [cache], paths });
  await push();
  const { config, env } = await writeConfigOf(bench, [cache]);
  const sync = (state: Readonly<Record<string, string>>): Promise<Finished> =>
    runNode(bench, [PROGRAM, "sync", "-q", "-c", config], { ...env, ...state });
  const measure = measurer(bench, proxy);
  const pushes = { what: `push, ${where}`, run: push };
  const firsts = { what: `first sync, ${where}`, run: async () => sync(await wantMany(bench)) };
  const state = await wantMany(bench);
  await sync(state);
  const nexts = { what: `next sync, ${where}`, run: () => sync(state) };
  const [pushed, first, next] = [
    await measure(pushes),
    await measure(firsts),
    await measure(nexts),
  ];
  return [
    boundLine({ what: pushes.what, reach: MOST_SECONDS }, pushed.times, seconds),
    boundLine({ what: firsts.what, reach: MOST_SECONDS }, first.times, seconds),
    boundLine({ what: `requests: ${nexts.what}`, reach: 1 }, next.requests, String),
  ];
}

interface Runs {
  readonly what: string;
  readonly run: () => Promise<Finished>;
}

interface Measured {
  readonly times: readonly number[];
  readonly requests: readonly number[];
}

function measurer(bench: Bench, proxy: DelayProxy): (runs: Runs) => Promise<Measured> {
  return async ({ what, run }) => {
    const requests: number[] = [];
    const ours = async (): Promise<number> => {
      proxy.reset(DELAY_MS);
      const finished = await run();
      const passed = proxy.passed();
      if (passed.writes > 0)
        throw new Error(`Expected nothing to do, found ${passed.writes} writes`);
      requests.push(passed.requests);
      return finished.seconds;
    };
    const { ours: times } = await compare(bench, what, { ours, theirs: [] });
    return { times, requests };
  };
}
