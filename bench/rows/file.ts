import { mkdtemp, rm, statfs } from "node:fs/promises";
import { join } from "node:path";

import type { Bench, Row } from "../bench.ts";
import { compare, otherNixes } from "../compare.ts";
import { syncDisk } from "../disk.ts";
import { pushInto } from "../handpick.ts";
import { type Line, missingLines, speedLine } from "../lines.ts";
import { copyInto } from "../nix-copy.ts";

const ZSTD = "?compression=zstd";
/** `f_type` of tmpfs, by statfs(2). */
const TMPFS = 0x0102_1994;
const IN_MEMORY = "/dev/shm";

/** Many paths into a folder, which need only the file system. */
export const fileRow: Row = {
  name: "file",
  about: "many tiny paths to file://, in memory and on a disk, against nix copy",
  async measure(bench) {
    return [...(await measureMemory(bench)), ...(await measureDisk(bench))];
  },
};

/** Where nothing waits for a disk. */
async function measureMemory(bench: Bench): Promise<Line[]> {
  const what = `push ${bench.sizes.tinyPaths} tiny paths to file:// in memory`;
  const type = await statfs(IN_MEMORY).then(
    (found) => found.type,
    () => undefined,
  );
  if (type !== TMPFS) {
    return missingLines(what, [{ against: "nix copy", reason: `${IN_MEMORY} is no tmpfs` }]);
  }
  return await measureIn(bench, { what, parent: IN_MEMORY, isSynced: false });
}

/** What we write is durable; what nix copy writes is so after `sync -f`. */
async function measureDisk(bench: Bench): Promise<Line[]> {
  const what = `push ${bench.sizes.tinyPaths} tiny paths to file:// on a disk`;
  return await measureIn(bench, { what, parent: bench.workDir, isSynced: true });
}

interface FolderCase {
  readonly what: string;
  readonly parent: string;
  /** True to have nix copy followed by `sync -f`. */
  readonly isSynced: boolean;
}

async function measureIn(bench: Bench, one: FolderCase): Promise<Line[]> {
  const { what, isSynced } = one;
  const { path } = bench.corpus.tiny;
  const paths = bench.sizes.tinyPaths;
  const { ours, theirs, missing } = await compare(bench, what, {
    rounds: 9,
    budgetSeconds: 120,
    ours: () =>
      inFolder(bench, one, async (dir) => (await pushInto(bench, path, { dir, paths })).seconds),
    ...otherNixes(bench.nixes, {
      name: (version) => `nix copy ${version} to file:// (zstd)${isSynced ? ", sync -f" : ""}`,
      run: (nix) =>
        inFolder(bench, one, async (dir) => {
          const copied = await copyInto(bench, { nix, path, parameters: ZSTD, paths }, dir);
          return copied.seconds + (isSynced ? await syncDisk(bench, dir) : 0);
        }),
    }),
  });
  return [
    ...theirs.map(({ name, times }) => speedLine({ what, against: name, reach: 1 }, ours, times)),
    ...missingLines(what, missing),
  ];
}

/** Runs in a new folder of a disk that has nothing else to write, and removes it. */
async function inFolder(
  bench: Bench,
  { parent, isSynced }: FolderCase,
  task: (dir: string) => Promise<number>,
): Promise<number> {
  const folder = await mkdtemp(join(parent, "handpick-bench-"));
  try {
    if (isSynced) await syncDisk(bench, folder);
    return await task(join(folder, "cache"));
  } finally {
    await rm(folder, { recursive: true });
  }
}
