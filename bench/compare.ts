import type { Bench } from "./bench.ts";
import { seconds } from "./lines.ts";
import type { Missing } from "./lines.ts";
import type { Nix, Nixes } from "./nix-versions.ts";
import { race } from "./race.ts";
import type { Contender } from "./race.ts";

/** handpick and what it is compared with. */
export interface Comparison {
  /** Runs handpick once; resolves with the time it took, in seconds. */
  readonly ours: () => Promise<number>;
  readonly theirs: readonly Contender[];
  /** Whom it should be compared with as well, but cannot be here. */
  readonly missing?: readonly Missing[];
  /** @default {5} */
  readonly rounds?: number;
  /** @default {60} */
  readonly budgetSeconds?: number;
}

export interface Compared {
  readonly ours: readonly number[];
  /** Nothing with a profile. */
  readonly theirs: readonly { readonly name: string; readonly times: readonly number[] }[];
  readonly missing: readonly Missing[];
}

/** Measures both sides in turns; with a profile only handpick, once. */
export async function compare(
  bench: Bench,
  what: string,
  comparison: Comparison,
): Promise<Compared> {
  const { ours, rounds = 5, budgetSeconds = 60 } = comparison;
  const others = bench.profileDir === undefined ? comparison.theirs : [];
  const isOnce = bench.isQuick || bench.profileDir !== undefined;
  const [mine = [], ...rest] = await race([{ name: "handpick", run: ours }, ...others], {
    rounds: isOnce ? 1 : rounds,
    budgetSeconds,
    onRun: (name, time) => bench.say(`${what}: ${name} ${seconds(time)}`),
  });
  return {
    ours: mine,
    theirs: others.map(({ name }, at) => ({ name, times: rest[at] ?? [] })),
    missing: comparison.missing ?? [],
  };
}

/** The same for each version of Nix. */
export interface NixContender extends Pick<Contender, "mostRuns"> {
  readonly name: (version: string) => string;
  readonly run: (nix: Nix) => Promise<number>;
}

/** The other side of a comparison with Nix, in all its versions. */
export function otherNixes(
  nixes: Nixes,
  { name, run, ...rest }: NixContender,
): Pick<Comparison, "theirs" | "missing"> {
  return {
    theirs: nixes.found.map((nix) => ({ ...rest, name: name(nix.version), run: () => run(nix) })),
    missing: nixes.missing.map(({ version, reason }) => ({ against: name(version), reason })),
  };
}
