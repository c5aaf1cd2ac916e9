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
  Record<"large" | "small" | "piece" | "huge" | "tiny" | "shallow" | "many", CorpusPath>
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

/** Opens the corpus in the folder, or makes what it lacks: all of it takes minutes in full size. */
export async function openCorpus(
  options: CorpusOptions,
): Promise<{ readonly store: BenchStore; readonly corpus: Corpus }> {
  const { dir, sizes, signal } = options;
  const file = join(dir, "corpus.json");
  const wanted = JSON.stringify({ recipe: RECIPE, sizes });
  const text = await readFile(file, "utf8").catch(() => "");
  const [recipe, paths] = text.split("\n");
  const kept = recipe === wanted && paths !== undefined ? (JSON.parse(paths) as Kept) : undefined;
  if (kept === undefined) await removeStore(dir, signal);
  const store = await openStore(dir);
  const files = kept ?? (await makeFiles(store, options));
  const corpus = { ...files, ...(await makeClosures(store, { ...options, kept })) };
  const made = `${wanted}\n${JSON.stringify(corpus)}\n`;
  if (made !== text) await writeFile(file, made);
  return { store, corpus };
}

type Closures = Pick<Corpus, "tiny" | "shallow" | "many">;
type Files = Omit<Corpus, keyof Closures>;
/** What another version made may lack closures, which take seconds. */
type Kept = Files & Partial<Closures>;

async function makeFiles(store: BenchStore, options: CorpusOptions): Promise<Files> {
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
  };
}

async function makeClosures(
  store: BenchStore,
  { sizes, signal, kept }: CorpusOptions & { readonly kept: Kept | undefined },
): Promise<Closures> {
  const make = (count: number, references: readonly [string, string]): Promise<CorpusPath> =>
    makeClosure(store, { count, references, signal });
  return {
    tiny: kept?.tiny ?? (await make(sizes.tinyPaths, DEEP)),
    shallow: kept?.shallow ?? (await make(sizes.tinyPaths, SHALLOW)),
    many: kept?.many ?? (await make(sizes.manyPaths, DEEP)),
  };
}

/** References of the n-th path: chains of 15 among 500 paths. */
const DEEP = ["n / 2", "n * 2 / 3"] as const;
/** The same with chains of 5. */
const SHALLOW = ["n / 6", "n / 5"] as const;

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

interface ClosureOptions {
  readonly count: number;
  /** Nix code for the numbers of the two paths that the n-th refers to. */
  readonly references: readonly [string, string];
  readonly signal: AbortSignal;
}

/** Paths of up to some KiB, each with two references, and one that refers to all of them. */
async function makeClosure(
  store: BenchStore,
  { count, references, signal }: ClosureOptions,
): Promise<CorpusPath> {
  const [one, other] = references;
  const expression = `
    let
      lines = n: builtins.concatStringsSep "\\n" (builtins.genList (x: "line \${toString (x * n)}") (n / 2));
      needs = n: if n == 0 then "" else "\${path (${one})} \${path (${other})}";
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
