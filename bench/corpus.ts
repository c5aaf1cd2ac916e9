import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { findRealFiles, writeLargeFile, writeSmallFiles } from "./real-files.ts";
import type { Material } from "./real-files.ts";
import { openStore, removeStore } from "./store.ts";
import type { BenchStore } from "./store.ts";

const MIB = 1 << 20;

/** How much is measured. */
export interface Sizes {
  /** A tree with a few very large files. */
  readonly largeBytes: number;
  readonly largeFiles: number;
  /** A tree with many small ones. */
  readonly smallFiles: number;
  /** Trees of one large file each, {@link largeBytes} in all. */
  readonly severalPaths: number;
  /** One file, for what takes too long with more. */
  readonly pieceBytes: number;
  /** One file, to see the peak of memory. */
  readonly hugeBytes: number;
  /** Closures of tiny paths. */
  readonly tinyPaths: number;
  readonly manyPaths: number;
}

export const FULL: Sizes = {
  largeBytes: 1024 * MIB,
  largeFiles: 4,
  smallFiles: 40_000,
  severalPaths: 6,
  pieceBytes: 48 * MIB,
  hugeBytes: 4096 * MIB,
  tinyPaths: 500,
  manyPaths: 2_000,
};

/** Enough to see that everything works; what is measured with it means nothing. */
export const QUICK: Sizes = {
  largeBytes: 6 * MIB,
  largeFiles: 2,
  smallFiles: 300,
  severalPaths: 3,
  pieceBytes: MIB,
  hugeBytes: 9 * MIB,
  tinyPaths: 12,
  manyPaths: 30,
};

export interface CorpusPath {
  readonly path: string;
  /** Of the NAR; of a closure all of them. */
  readonly sizeBytes: number;
}

/** Store paths to measure with, made of files of this machine. */
export interface Corpus extends Readonly<
  Record<"large" | "small" | "piece" | "huge" | "tiny" | "many", CorpusPath>
> {
  /** Independent paths. */
  readonly several: readonly CorpusPath[];
}

export interface CorpusOptions {
  /** Kept, and used again when it has a corpus of these sizes. */
  readonly dir: string;
  readonly sizes: Sizes;
  readonly roots: readonly string[];
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Another recipe makes other paths from the same sizes. */
const RECIPE = 2;
const MOST_FILES = 300_000;

/** Opens the corpus in the folder, or makes it, which takes minutes in full size. */
export async function openCorpus(
  options: CorpusOptions,
): Promise<{ readonly store: BenchStore; readonly corpus: Corpus }> {
  const { dir, sizes, signal } = options;
  const file = join(dir, "corpus.json");
  const wanted = JSON.stringify({ recipe: RECIPE, sizes });
  const kept = await readFile(file, "utf8").catch(() => "");
  const [recipe, paths] = kept.split("\n");
  if (recipe === wanted && paths !== undefined) {
    return { store: await openStore(dir), corpus: JSON.parse(paths) as Corpus };
  }
  await removeStore(dir, signal);
  const store = await openStore(dir);
  const corpus = await makeCorpus(store, options);
  await writeFile(file, `${wanted}\n${JSON.stringify(corpus)}\n`);
  return { store, corpus };
}

async function makeCorpus(store: BenchStore, options: CorpusOptions): Promise<Corpus> {
  const { sizes, roots, signal, say } = options;
  say(`Making the corpus in ${store.dir}, once`);
  await store.nix("nix-store", ["--init"], signal);
  const material = { files: findRealFiles(roots, MOST_FILES), signal };
  const makeOne = makeAdder(store, options);
  return {
    large: await makeOne("large", (tree) => writeLargeTree(tree, sizes, material)),
    small: await makeOne("small", (tree) => writeSmallFiles(tree, sizes.smallFiles, material)),
    several: await makeSeveral(sizes, makeOne, material),
    piece: await makeOne("piece", async (tree) => {
      await writeLargeFile(tree, sizes.pieceBytes, { ...material, from: 0 });
    }),
    huge: await makeOne("huge", async (tree) => {
      await writeLargeFile(tree, sizes.hugeBytes, { ...material, from: 0 });
    }),
    tiny: await makeClosure(store, sizes.tinyPaths, signal),
    many: await makeClosure(store, sizes.manyPaths, signal),
  };
}

type Write = (path: string) => Promise<void>;
type MakeOne = (name: string, write: Write) => Promise<CorpusPath>;

async function makeSeveral(
  { largeBytes, severalPaths }: Sizes,
  makeOne: MakeOne,
  material: Material,
): Promise<CorpusPath[]> {
  const sizeBytes = Math.floor(largeBytes / severalPaths);
  const made: CorpusPath[] = [];
  let from = 0;
  for (let n = 0; n < severalPaths; n += 1) {
    const path = await makeOne(`several-${n}`, async (tree) => {
      from = await writeLargeFile(tree, sizeBytes, { ...material, from });
    });
    made.push(path);
  }
  return made;
}

function makeAdder(store: BenchStore, { signal, say }: CorpusOptions): MakeOne {
  const folder = join(store.dir, "making");
  return async (name, write) => {
    say(`  ${name}`);
    const path = join(folder, name);
    try {
      await mkdir(folder);
      await write(path);
      signal.throwIfAborted();
      const added = await store.nix("nix-store", ["--add", path], signal);
      return { path: added, sizeBytes: await sizeOf(store, [added], signal) };
    } finally {
      await rm(folder, { recursive: true });
    }
  };
}

async function writeLargeTree(
  tree: string,
  { largeBytes, largeFiles }: Sizes,
  material: Material,
): Promise<void> {
  await mkdir(tree);
  const sizeBytes = Math.floor(largeBytes / largeFiles);
  let from = 0;
  for (let n = 0; n < largeFiles; n += 1) {
    from = await writeLargeFile(join(tree, `file-${n}`), sizeBytes, { ...material, from });
  }
}

/** Paths of up to some KiB, each with two references, and one that refers to all of them. */
async function makeClosure(
  store: BenchStore,
  count: number,
  signal: AbortSignal,
): Promise<CorpusPath> {
  const expression = `
    let
      lines = n: builtins.concatStringsSep "\\n" (builtins.genList (x: "line \${toString (x * n)}") (n / 2));
      needs = n: if n == 0 then "" else "\${path (n / 2)} \${path (n * 2 / 3)}";
      path = builtins.elemAt paths;
      paths = builtins.genList (n: builtins.toFile "tiny-\${toString n}" "\${lines n}\\n\${needs n}") ${count - 1};
    in builtins.toFile "closure-${count}" (builtins.concatStringsSep "\\n" paths)`;
  const quoted = await store.nix(
    "nix-instantiate",
    ["--eval", "--read-write-mode", "--expr", expression],
    signal,
  );
  const path = JSON.parse(quoted) as string;
  const members = (await store.nix("nix-store", ["-qR", path], signal)).split("\n");
  if (members.length !== count) throw new Error(`Expected ${count} paths, got ${members.length}`);
  return { path, sizeBytes: await sizeOf(store, members, signal) };
}

async function sizeOf(
  store: BenchStore,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<number> {
  const printed = await store.nix("nix-store", ["-q", "--size", ...paths], signal);
  return printed.split("\n").reduce((sum, line) => sum + Number(line), 0);
}
