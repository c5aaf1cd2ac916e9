import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import { syncDisk } from "../disk.ts";
import { pushTo } from "../handpick.ts";
import { byteSize, type Line, missingLines, speedLine } from "../lines.ts";
import { copyTo, nixesFor } from "../nix-copy.ts";
import { openPlace, PLACE_NAMES, type Scheme, whyNoPlace } from "../places.ts";

const PARAMETERS = "?compression=zstd&compression-level=3&parallel-compression=true";

/** Bytes to where they are kept: what the disk and the servers take is the same for both. */
export const largeRow: Row = {
  name: "large",
  about: "several large paths to file://, nginx and S3, against nix copy",
  async measure(bench) {
    for (const { path } of bench.corpus.several) await bench.store.warm(path, bench.signal);
    return [
      ...(await measureIn(bench, "file")),
      ...(await measureIn(bench, "http")),
      ...(await measureIn(bench, "s3")),
    ];
  },
};

async function measureIn(bench: Bench, scheme: Scheme): Promise<Line[]> {
  const { several } = bench.corpus;
  const [path, paths] = [several.map((one) => one.path), several.length];
  const sizeBytes = several.reduce((sum, one) => sum + one.sizeBytes, 0);
  const what = `push several large paths to ${PLACE_NAMES[scheme]}, ${byteSize(sizeBytes)}`;
  const lack = await whyNoPlace(scheme);
  if (lack !== false) return missingLines(what, [{ against: "nix copy", reason: lack }]);
  await using place = await openPlace(bench, scheme);
  // What we write to a disk is durable; what nix copy writes is so after `sync -f`.
  const isSynced = scheme === "file";
  const { ours, theirs, missing } = await compare(bench, what, {
    budgetSeconds: 90,
    ours: async () => {
      await using cache = await place.newCache();
      return (await pushTo(bench, path, { caches: [cache], paths })).seconds;
    },
    ...otherNixes(await nixesFor(bench, scheme), {
      name: (version) => `nix copy ${version} (zstd 3, parallel)${isSynced ? ", sync -f" : ""}`,
      run: async (nix) => {
        await using cache = await place.newCache();
        const request = { nix, path, parameters: PARAMETERS, paths };
        const copied = await copyTo(bench, request, cache);
        return copied.seconds + (isSynced ? await syncDisk(bench, cache.dir) : 0);
      },
    }),
  });
  return [
    ...theirs.map(({ name, times }) => speedLine({ what, against: name, reach: 1 }, ours, times)),
    ...missingLines(what, missing),
  ];
}
