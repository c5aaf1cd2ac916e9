import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import { push } from "../handpick.ts";
import { byteSize, type Line, missingLines, speedLine } from "../lines.ts";
import { copyToFolder } from "../nix-copy.ts";
import { run } from "../process.ts";

const WHAT = "push several large paths";
const ZSTD = "?compression=zstd&compression-level=3&parallel-compression=true";
/** Does all that a push has to do but for the sending: two SHA-256 and the MD5 that storage wants. */
const PIPE = `set -o pipefail
for path in "$@"; do
  nix-store --dump "$path" | tee >(openssl dgst -sha256 >&2) | zstd -3 -T2 -q -c |
    tee >(openssl dgst -sha256 >&2) | openssl dgst -md5 >&2 || exit 1
done`;
const AGAINST = "nix-store --dump | zstd -3 -T2, hashed by openssl";

/** Row 3: several large paths in one run. */
export const severalRow: Row = {
  name: "several",
  about: "push several large paths, against a pipe that hashes as well, and nix copy",
  measure,
};

async function measure(bench: Bench): Promise<Line[]> {
  const { corpus, store, workDir, zstd, signal } = bench;
  const paths = corpus.several.map(({ path }) => path);
  for (const path of paths) await store.warm(path, signal);
  const files = paths.map((path) => store.physical(path));
  const copies = otherNixes(bench.nixes, {
    name: (version) => `nix copy ${version} to file:// (zstd 3, parallel)`,
    run: async (nix) => {
      const request = { nix, path: paths, parameters: ZSTD, paths: paths.length };
      return (await copyToFolder(bench, request)).seconds;
    },
  });
  const pipe = async (): Promise<number> => {
    const options = { env: store.env, cwd: workDir, signal };
    return (await run("bash", ["-c", PIPE, "bash", ...files], options)).seconds;
  };
  const { ours, theirs, missing } = await compare(bench, WHAT, {
    ours: async () => (await push(bench, paths, { paths: paths.length })).seconds,
    theirs: [
      ...(zstd === undefined ? [] : [{ name: AGAINST, run: pipe }]),
      ...(copies.theirs ?? []),
    ],
    missing: [
      ...(zstd === undefined ? [{ against: AGAINST, reason: "zstd is not installed" }] : []),
      ...(copies.missing ?? []),
    ],
  });
  const sizeBytes = corpus.several.reduce((sum, one) => sum + one.sizeBytes, 0);
  const what = `${WHAT}, ${byteSize(sizeBytes)}`;
  return [
    ...theirs.map(({ name, times }) =>
      speedLine({ what, against: name, reach: name === AGAINST ? 1.25 : 1.1 }, ours, times),
    ),
    ...missingLines(what, missing),
  ];
}
