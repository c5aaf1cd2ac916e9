import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import type { CorpusPath } from "../corpus.ts";
import { push } from "../handpick.ts";
import { byteSize, missingLines, speedLine } from "../lines.ts";
import type { Goal, Line } from "../lines.ts";
import { copyToFolder } from "../nix-copy.ts";

const ZSTD = "?compression=zstd&compression-level=3&parallel-compression=true";

/** Row 2: the whole program, to a sink. */
export const pushRow: Row = {
  name: "push",
  about: "push to a sink, against nix copy into a folder",
  async measure(bench) {
    const { large, small, piece } = bench.corpus;
    const zstd = { parameters: ZSTD, label: "zstd 3, parallel", reach: 1 };
    const xz = { parameters: "", label: "xz, its default" };
    return [
      ...(await pushOne(bench, { ...zstd, what: "push a few large files", path: large })),
      ...(await pushOne(bench, { ...zstd, what: "push many small files", path: small })),
      ...(await pushOne(bench, { ...xz, what: "push one smaller file", path: piece })),
    ];
  },
};

interface PushCase extends Pick<Goal, "what" | "reach"> {
  readonly path: CorpusPath;
  readonly parameters: string;
  readonly label: string;
}

async function pushOne(bench: Bench, one: PushCase): Promise<Line[]> {
  const { what, path, parameters, label, ...goal } = one;
  await bench.store.warm(path.path, bench.signal);
  const { ours, theirs, missing } = await compare(bench, what, {
    ours: async () => (await push(bench, path.path, { paths: 1 })).seconds,
    ...otherNixes(bench.nixes, {
      name: (version) => `nix copy ${version} to file:// (${label})`,
      run: async (nix) => {
        const request = { nix, path: path.path, parameters, paths: 1 };
        return (await copyToFolder(bench, request)).seconds;
      },
    }),
  });
  const sized = `${what}, ${byteSize(path.sizeBytes)}`;
  return [
    ...theirs.map(({ name, times }) =>
      speedLine({ ...goal, what: sized, against: name }, ours, times),
    ),
    ...missingLines(sized, missing),
  ];
}
