import type { Bench, Row } from "../bench.ts";
import { compare } from "../compare.ts";
import { pushTo } from "../handpick.ts";
import { byteSize, durationLine, type Line, missingLines } from "../lines.ts";
import { openPlace, PLACE_NAMES, type Scheme, whyNoPlace } from "../places.ts";

const AGAINST = "the slower one alone";

/** Caches of two kinds in one run: each path is packed once. */
export const kindsRow: Row = {
  name: "kinds",
  about: "several large paths to caches of two kinds at once, against one",
  async measure(bench) {
    for (const { path } of bench.corpus.several) await bench.store.warm(path, bench.signal);
    return [
      ...(await measureBoth(bench, ["file", "http"])),
      ...(await measureBoth(bench, ["http", "s3"])),
    ];
  },
};

async function measureBoth(bench: Bench, schemes: readonly [Scheme, Scheme]): Promise<Line[]> {
  const { several } = bench.corpus;
  const sizeBytes = several.reduce((sum, one) => sum + one.sizeBytes, 0);
  const names = schemes.map((scheme) => PLACE_NAMES[scheme]).join(" and ");
  const what = `push several large paths to ${names} at once, ${byteSize(sizeBytes)}`;
  for (const scheme of schemes) {
    const reason = await whyNoPlace(scheme);
    if (reason !== false) return missingLines(what, [{ against: AGAINST, reason }]);
  }
  await using one = await openPlace(bench, schemes[0]);
  await using other = await openPlace(bench, schemes[1]);
  const path = several.map(({ path }) => path);
  const paths = several.length;
  const alone = [one, other].map((place) => ({
    name: `handpick to ${PLACE_NAMES[place.scheme]} alone`,
    run: async (): Promise<number> => {
      await using cache = await place.newCache();
      return (await pushTo(bench, path, { caches: [cache], paths })).seconds;
    },
  }));
  const { ours, theirs } = await compare(bench, what, {
    budgetSeconds: 120,
    ours: async () => {
      await using a = await one.newCache();
      await using b = await other.newCache();
      return (await pushTo(bench, path, { caches: [a, b], paths })).seconds;
    },
    theirs: alone,
  });
  const slower = ours.map((_, round) => Math.max(...theirs.map(({ times }) => times[round] ?? 0)));
  return [durationLine({ what, against: AGAINST, reach: 1.15 }, ours, slower)];
}
