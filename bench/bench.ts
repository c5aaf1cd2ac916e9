import type { Corpus, Sizes } from "./corpus.ts";
import type { Line } from "./lines.ts";
import type { Nixes } from "./nix-versions.ts";
import type { Sink } from "./sink.ts";
import type { BenchStore } from "./store.ts";

/** What every row measures with. */
export interface Bench {
  readonly corpus: Corpus;
  readonly sizes: Sizes;
  readonly store: BenchStore;
  readonly sink: Sink;
  readonly nixes: Nixes;
  /** The version of the zstd program; undefined if there is none. */
  readonly zstd: string | undefined;
  /** For what is written while measuring; removed in the end. */
  readonly workDir: string;
  /** One round of everything. */
  readonly isQuick: boolean;
  /** Where profiles of handpick go; then nothing is compared. */
  readonly profileDir: string | undefined;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** A row of the table, which may have several lines. */
export interface Row {
  readonly name: string;
  /** For the help, in a few words. */
  readonly about: string;
  measure(bench: Bench): Promise<Line[]>;
}
