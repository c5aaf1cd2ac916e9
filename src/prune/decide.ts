import { narInfoName } from "../cache/binary-cache.ts";
import { type HashPart, parseHashPart } from "../nix/store-path.ts";
import { reach } from "../plan/chain.ts";
import type { Entry } from "./entry.ts";

/** The paths that somebody wants, there or not. */
export interface Needs {
  /** With all that they refer to. */
  readonly paths: ReadonlySet<HashPart>;
  /** With the derivations behind them, and all that those were built from, too. */
  readonly builds: ReadonlySet<HashPart>;
}

export interface DecideOptions {
  readonly needs: Needs;
  /** What came after that time stays, in milliseconds since 1970. */
  readonly cutoffMs: number;
  /** Names of entries that stay as well. @default {none} */
  readonly fresh?: ReadonlySet<string>;
}

export interface Decision {
  /** Entries that stay because somebody wants them, or something that needs them. */
  readonly wanted: ReadonlySet<Entry>;
  /** The others that stay: they are young or faulty, or such a one needs them. */
  readonly others: ReadonlySet<Entry>;
  /** Entries that are not what their names say; they stay with all that they name. */
  readonly faulty: readonly Entry[];
  /** Entries that go, in steps: each is needed by entries of earlier steps only. */
  readonly steps: readonly (readonly Entry[])[];
}

/** A graph of entries, by name. */
export type Entries = ReadonlyMap<string, Entry>;

/** Decides which entries of a cache go. Of what stays nothing goes that it needs. */
export function decide(entries: Entries, options: DecideOptions): Decision {
  const { needs, cutoffMs, fresh = new Set() } = options;
  const links = new Links(entries);
  const built = reach([...needs.builds].map(narInfoName), (name) => links.behind(name));
  const wantedNames = [...[...needs.paths].map(narInfoName), ...built.keys()];
  const all = [...entries.values()];
  const faulty = all.filter(({ fault }) => fault !== undefined);
  const isYoung = ({ file }: Entry): boolean =>
    // A time that is not known counts as late.
    !(file.modifiedMs <= cutoffMs) || fresh.has(file.name);
  const spared = [...faulty, ...all.filter(isYoung)].map(({ file }) => file.name);
  const wanted = reach(wantedNames, (name) => links.from(name));
  const kept = reach([...wanted.keys(), ...spared], (name) => links.from(name));
  return {
    wanted: new Set(all.filter(({ file }) => wanted.has(file.name))),
    others: new Set(all.filter(({ file }) => kept.has(file.name) && !wanted.has(file.name))),
    faulty,
    steps: inSteps(all.filter(({ file }) => !kept.has(file.name))),
  };
}

/** What leads from entry to entry. */
export class Links {
  readonly #entries: Entries;
  readonly #companions: ReadonlyMap<string | undefined, readonly Entry[]>;
  readonly #derived: ReadonlyMap<string, readonly Entry[]>;

  constructor(entries: Entries) {
    this.#entries = entries;
    this.#companions = Map.groupBy(entries.values(), ({ goesWith }) => goesWith);
    const pairs = [...entries.values()].flatMap((entry) =>
      entry.derivers.flatMap(narInfoOf).map((deriver) => ({ deriver, entry })),
    );
    this.#derived = new Map(
      [...Map.groupBy(pairs, ({ deriver }) => deriver)].map(([deriver, group]) => [
        deriver,
        group.map(({ entry }) => entry),
      ]),
    );
  }

  /** Names of what the readers of an entry need, and of the realisations that lead to it. */
  from(name: string): string[] {
    const companions = this.#companions.get(name) ?? [];
    return [...(this.#entries.get(name)?.needs ?? []), ...companions.map(({ file }) => file.name)];
  }

  /** The same with derivations and all that they made, more than the build of the path took. */
  behind(name: string): string[] {
    const derivers = (this.#entries.get(name)?.derivers ?? []).flatMap(narInfoOf);
    const derived = this.#derived.get(name) ?? [];
    return [...this.from(name), ...derivers, ...derived.map(({ file }) => file.name)];
  }
}

/** Puts each entry into the step after the last one that needs it. A circle, which Nix makes none of, stays. */
function inSteps(entries: readonly Entry[]): Entry[][] {
  const left = new Map(entries.map((entry) => [entry.file.name, entry]));
  const counts = new Map<string, number>();
  for (const { needs } of entries) {
    for (const name of needs) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const steps: Entry[][] = [];
  let step = entries.filter(({ file }) => !counts.has(file.name));
  while (step.length > 0) {
    steps.push(step);
    const next: Entry[] = [];
    for (const name of step.flatMap(({ needs }) => needs)) {
      const count = (counts.get(name) ?? 0) - 1;
      counts.set(name, count);
      const entry = left.get(name);
      if (count === 0 && entry !== undefined) next.push(entry);
    }
    step = next;
  }
  return steps;
}

function narInfoOf(baseName: string): string[] {
  const [, hashPart] = /^([0-9a-df-np-sv-z]{32})-/.exec(baseName) ?? [];
  return hashPart === undefined ? [] : [narInfoName(parseHashPart(hashPart))];
}
